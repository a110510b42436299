package io.standby.interop;

import java.io.File;
import java.util.concurrent.TimeUnit;

/**
 * A member's flags. Each member owns ten ports from {@code --base-port + 10 * id}: archive control, ingress,
 * consensus, log, catch-up, archive response, egress response.
 */
final class MemberFlags {
    final int memberId;
    final String clusterMembers;
    final String host;
    final int ownPort;
    final File baseDir;
    final String aeronDir;
    final boolean isCleanStart;
    /** Driver and archive run already, in another process. */
    final boolean usesExternalDriver;
    final boolean takeOverMarks;
    final int serviceCount;
    final int ballastLength;
    final boolean isBurst;
    final boolean isCounting;
    final boolean recordsLag;
    /** How much longer every service takes over a snapshot. */
    final long snapshotDelayNs;
    final boolean obeysLagCommands;
    final long logTermLength;
    final long ipcTermLength;
    final int segmentLength;
    final int mtuLength;
    final int fileSyncLevel;
    final int sessionsMax;
    final boolean acceptStandbySnapshots;
    final int appointedLeaderId;
    final String archiveBind;
    final Security security;
    final Security archiveSecurity;
    final String idle;
    final String threading;
    final boolean usesAeronDefaults;
    private final Flags flags;

    MemberFlags(final Flags flags) {
        this.flags = flags;
        memberId = flags.integer("id", 0);
        host = flags.text("host", "localhost");
        final int basePort = flags.integer("base-port", 20000);
        final int memberCount = flags.integer("member-count", 1);
        final boolean hasResponseEndpoints = flags.isSet("response-endpoints");
        clusterMembers = flags.text("members", members(host, basePort, memberCount, hasResponseEndpoints));
        ownPort = basePort + 10 * memberId;
        baseDir = new File(flags.text("dir")).getAbsoluteFile();
        aeronDir = flags.text("aeron-dir", new File(baseDir, "driver").getPath());
        isCleanStart = flags.isSet("clean");
        usesExternalDriver = flags.isSet("external-driver");
        takeOverMarks = !flags.isSet("keep-marks");
        serviceCount = flags.integer("services", 1);
        ballastLength = flags.integer("ballast", 0);
        isBurst = flags.isSet("burst-service");
        isCounting = flags.isSet("counting-service");
        obeysLagCommands = flags.isSet("lag-commands");
        recordsLag = flags.isSet("lag") || obeysLagCommands;
        snapshotDelayNs = TimeUnit.MILLISECONDS.toNanos(flags.size("snapshot-delay-ms", 0));
        // With 64 KiB a starved follower loses what the leader can still send again, and joins anew 10 s later.
        logTermLength = flags.size("term-length", 1024 * 1024);
        ipcTermLength = flags.size("ipc-term-length", 1024 * 1024);
        segmentLength = (int)flags.size("segment-length", Math.max(1024 * 1024, logTermLength));
        mtuLength = flags.integer("mtu", 0);
        fileSyncLevel = flags.integer("file-sync-level", 0);
        sessionsMax = flags.integer("max-sessions", 10);
        acceptStandbySnapshots = flags.isSet("accept-standby-snapshots");
        appointedLeaderId = flags.integer("appointed-leader", -1);
        archiveBind = flags.text("archive-bind", host + ":" + ownPort);
        security = Security.from(flags, "");
        archiveSecurity = Security.from(flags, "archive-");
        idle = flags.text("idle", "backoff");
        threading = flags.text("threading", "shared");
        usesAeronDefaults = flags.isSet("aeron-defaults");
        for (final String name : DURATION_FLAGS) {
            flags.text(name, null);
        }
        flags.finish();
    }

    /**
     * A duration flag in milliseconds as nanoseconds. Without the flag it is our short one, which keeps elections
     * within seconds, or Aeron's own with {@code --aeron-defaults}.
     */
    long durationNs(final String name, final long shortMs, final long aeronNs) {
        final long fallbackMs = usesAeronDefaults ? TimeUnit.NANOSECONDS.toMillis(aeronNs) : shortMs;
        return TimeUnit.MILLISECONDS.toNanos(flags.size(name, fallbackMs));
    }

    /** The members string for members 0 to count - 1 on one host. */
    static String members(
        final String host, final int basePort, final int count, final boolean hasResponseEndpoints) {
        final StringBuilder text = new StringBuilder();
        for (int id = 0; id < count; id++) {
            final int port = basePort + 10 * id;
            text.append(id == 0 ? "" : "|").append(id);
            for (final int offset : new int[] {1, 2, 3, 4, 0}) {
                text.append(',').append(host).append(':').append(port + offset);
            }
            if (hasResponseEndpoints) {
                text.append(',').append(host).append(':').append(port + 5);
                text.append(',').append(host).append(':').append(port + 6);
            }
        }
        return text.toString();
    }

    private static final String[] DURATION_FLAGS = {
        "session-timeout-ms", "heartbeat-timeout-ms", "heartbeat-interval-ms", "election-timeout-ms",
        "canvass-timeout-ms", "status-interval-ms", "termination-timeout-ms",
    };
}
