package io.standby.interop;

import java.util.concurrent.TimeUnit;

/** What the client sends, how fast and for how long. */
final class LoadFlags {
    /** Messages to send; 0 means no limit but the duration. */
    final long count;
    final long durationNs;
    /** Messages a second; 0 sends whenever fewer than {@link #window} wait for a reply. */
    final double rate;
    final int lengthMin;
    final int lengthMax;
    final long seed;
    final double timerShare;
    final long timerDelayMinMs;
    final long timerDelayMaxMs;
    /** So many timers share the ids, and one of an id that is scheduled moves it; 0 gives each its own. */
    final long timerIds;
    final double serviceShare;
    final int window;
    /** Every so many messages a second session is opened, sends one message and is closed; 0 for never. */
    final long churn;
    /** Messages before the delays are recorded. */
    final long warmup;
    final boolean resends;
    /** Services of the cluster, each of which replies to every message. */
    final int serviceCount;
    final long drainTimeoutNs;
    final long reconnectAfterNs;
    /** Without a due reply for so long the session is given up; 0 for never. */
    final long replyTimeoutNs;
    /** Service messages that one message of command 4 asks of a BurstAudit; 0 for none. */
    final long burst;

    LoadFlags(final Flags flags) {
        final double durationSeconds = flags.decimal("duration-s", 0);
        durationNs = durationSeconds > 0 ? (long)(durationSeconds * 1e9) : Long.MAX_VALUE;
        count = flags.size("count", durationSeconds > 0 ? 0 : 1000);
        rate = flags.decimal("rate", 0);
        lengthMin = flags.integer("size-min", 64);
        lengthMax = flags.integer("size-max", Math.max(lengthMin, 64));
        seed = flags.size("seed", 1);
        timerShare = flags.decimal("timer-share", 0);
        timerDelayMinMs = flags.size("timer-delay-min-ms", 1);
        timerDelayMaxMs = flags.size("timer-delay-max-ms", Math.max(timerDelayMinMs, 200));
        timerIds = flags.size("timer-ids", 0);
        serviceShare = flags.decimal("service-share", 0);
        window = flags.integer("window", rate > 0 ? 100_000 : 256);
        churn = flags.size("churn", 0);
        warmup = flags.size("warmup", 0);
        serviceCount = flags.integer("services", 1);
        resends = flags.isSet("resend");
        drainTimeoutNs = TimeUnit.MILLISECONDS.toNanos(flags.size("drain-timeout-ms", 20_000));
        reconnectAfterNs = TimeUnit.MILLISECONDS.toNanos(flags.size("reconnect-after-ms", 15_000));
        replyTimeoutNs = TimeUnit.MILLISECONDS.toNanos(flags.size("reply-timeout-ms", 0));
        burst = flags.size("burst", 0);
        if (lengthMin < Audit.HEADER_LENGTH || lengthMax < lengthMin) {
            throw new IllegalArgumentException("sizes must satisfy 16 <= --size-min <= --size-max");
        }
    }
}
