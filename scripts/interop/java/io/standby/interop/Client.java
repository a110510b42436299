package io.standby.interop;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

import io.aeron.Aeron;
import io.aeron.Publication;
import io.aeron.cluster.client.AeronCluster;
import io.aeron.cluster.client.EgressListener;
import io.aeron.cluster.codecs.EventCode;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.exceptions.TimeoutException;
import io.aeron.logbuffer.Header;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * A cluster client that sends audit messages and checks the replies. Messages are stamped with the time at which
 * they should have left, so a stalled cluster shows in the delays of all that waited.
 *
 * <p>Prints {@code client connected session=1 leader=0}, {@code client newleader member=1 term=2},
 * {@code client disconnected}, {@code progress sent=N replied=N} each second and, for each batch, a last line
 * {@code client sent=N replied=N ...}. With {@code --interactive} it reads {@code send N [RATE]},
 * {@code burst N}, {@code reset} (of round trips and longest gap, answered by {@code client reset}), {@code round-trips FILE}
 * (answered by {@code client wrote FILE}) and {@code quit} from stdin instead of sending at once. Exits with 1 when a
 * check failed.
 */
public final class Client implements EgressListener {
    private static final long KEEP_ALIVE_INTERVAL_NS = TimeUnit.SECONDS.toNanos(1);
    private static final long PROGRESS_INTERVAL_NS = TimeUnit.SECONDS.toNanos(1);

    private final ClientFlags flags;
    private final LoadFlags load;
    private final MessageMaker maker;
    private final IdleStrategy idle;
    private final ReplyLedger ledger = new ReplyLedger();
    private final AtomicBoolean isRunning = new AtomicBoolean(true);
    private final UnsafeBuffer resendBuffer = new UnsafeBuffer(0, 0);
    private final Aeron aeron;
    private final Churn churn;

    private AeronCluster cluster;
    private boolean isSessionLost;
    private ArrayDeque<ReplyLedger.Sent> toResend = new ArrayDeque<>();
    private long lastOfferNs;
    private long connectedNs;
    private long sendFailingSinceNs;
    private long nextProgressNs;
    private long lastStampNs;
    private long newLeaders;
    private long reconnects = -1;
    private long resent;
    private boolean isDrained = true;

    private Client(final ClientFlags flags, final Aeron aeron) {
        this.flags = flags;
        this.aeron = aeron;
        load = flags.load;
        maker = new MessageMaker(load);
        idle = Idle.named(flags.idle).get();
        churn = new Churn(() -> flags.context(aeron));
    }

    public static void main(final String[] args) throws Exception {
        final ClientFlags flags = new ClientFlags(new Flags(args));
        int status = 1;
        try (MediaDriver driver = flags.ownsDriver ? MediaDriver.launch(driver(flags)) : null;
            Aeron aeron = Aeron.connect(new Aeron.Context()
                .aeronDirectoryName(flags.aeronDir)
                .errorHandler((error) -> Out.error("client error " + error)))) {
            status = new Client(flags, aeron).run();
        } finally {
            if (flags.ownsDriver) {
                org.agrona.IoUtil.delete(new File(flags.aeronDir), true);
            }
        }
        // Not exit: the shutdown hook waits for this very thread.
        Runtime.getRuntime().halt(status);
    }

    private static MediaDriver.Context driver(final ClientFlags flags) {
        final MediaDriver.Context context = new MediaDriver.Context()
            .aeronDirectoryName(flags.aeronDir)
            .dirDeleteOnStart(true)
            .threadingMode(ThreadingMode.SHARED)
            .sharedIdleStrategy(Idle.named(flags.idle).get())
            .termBufferSparseFile(true)
            .errorHandler((error) -> Out.error("client driver error " + error));
        if (flags.mtuLength > 0) {
            context.mtuLength(flags.mtuLength);
        }
        return context;
    }

    private int run() {
        final Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            isRunning.set(false);
            try {
                main.join(2_000);
            } catch (final InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        connect();
        if (flags.isInteractive) {
            interact();
        } else {
            if (load.burst > 0) {
                burst(load.burst);
            }
            send(load.count, load.rate, load.durationNs);
            drain();
            printResult();
        }
        churn.close();
        cluster.close();
        final boolean hasStrayReplies = load.serviceCount == 1 && ledger.extra > 0;
        return isDrained && !hasStrayReplies && ledger.outOfOrder == 0 && ledger.countErrors == 0 ? 0 : 1;
    }

    /** Obeys lines from stdin; its end is the end of the client. */
    private void interact() {
        final Queue<String> lines = new ConcurrentLinkedQueue<>();
        final Thread reader = new Thread(() -> {
            new BufferedReader(new InputStreamReader(System.in)).lines().forEach(lines::add);
            lines.add("quit");
        });
        reader.setDaemon(true);
        reader.start();
        while (isRunning.get()) {
            final String line = lines.poll();
            if (line == null) {
                idle.idle(poll(System.nanoTime()));
                continue;
            }
            if (line.equals("quit")) {
                return;
            }
            final String[] words = line.trim().split("\\s+");
            switch (words[0]) {
                case "send" -> send(
                    Long.parseLong(words[1]), words.length > 2 ? Double.parseDouble(words[2]) : 0, Long.MAX_VALUE);
                case "burst" -> burst(Long.parseLong(words[1]));
                case "reset" -> {
                    ledger.resetTimes();
                    Out.line("client reset");
                    continue;
                }
                case "round-trips" -> {
                    ledger.roundTrip.write(Path.of(words[1]));
                    Out.line("client wrote " + words[1]);
                    continue;
                }
                default -> throw new IllegalArgumentException("unknown command: " + line);
            }
            drain();
            printResult();
        }
    }

    private void send(final long count, final double rate, final long durationNs) {
        final long startNs = System.nanoTime();
        final double intervalNs = rate > 0 ? 1e9 / rate : 0;
        long done = 0;
        while (isRunning.get() && (count == 0 || done < count)) {
            final long nowNs = System.nanoTime();
            final long dueNs = rate > 0 ? startNs + (long)(done * intervalNs) : nowNs;
            if (dueNs - startNs >= durationNs) {
                return;
            }
            int work = poll(nowNs);
            if (nowNs >= dueNs && ledger.openCount() < load.window && toResend.isEmpty()) {
                sendOne(maker.next(cluster.clusterSessionId()), dueNs, done >= load.warmup);
                done++;
                work++;
                if (load.churn > 0 && done % load.churn == 0) {
                    churn.open();
                }
            }
            if (work == 0) {
                idle.idle();
            } else {
                idle.reset();
            }
        }
    }

    private void burst(final long messages) {
        sendOne(maker.burst(messages), System.nanoTime(), false);
    }

    private void sendOne(final int length, final long dueNs, final boolean isRecorded) {
        // Stamps name messages, so no two may be equal.
        final long stampNs = Math.max(dueNs, lastStampNs + 1);
        lastStampNs = stampNs;
        maker.stamp(stampNs);
        byte[] bytes = null;
        if (load.resends) {
            bytes = new byte[length];
            maker.buffer().getBytes(0, bytes);
        }
        while (isRunning.get()) {
            if (offer(maker.buffer(), length)) {
                ledger.onSent(new ReplyLedger.Sent(stampNs, bytes, isRecorded), System.nanoTime());
                return;
            }
            idle.idle(poll(System.nanoTime()));
        }
    }

    private boolean offer(final DirectBuffer buffer, final int length) {
        if (isSessionLost || cluster.isClosed()) {
            return false;
        }
        final long result = cluster.offer(buffer, 0, length);
        final long nowNs = System.nanoTime();
        if (result > 0) {
            lastOfferNs = nowNs;
            sendFailingSinceNs = 0;
            return true;
        }
        if (result == Publication.MAX_POSITION_EXCEEDED) {
            isSessionLost = true;
        } else if (sendFailingSinceNs == 0) {
            sendFailingSinceNs = nowNs;
        }
        return false;
    }

    private int poll(final long nowNs) {
        if (isSessionLost || cluster.isClosed() ||
            (sendFailingSinceNs != 0 && nowNs - sendFailingSinceNs > load.reconnectAfterNs) ||
            (load.replyTimeoutNs > 0 && ledger.silenceNs(connectedNs, nowNs) > load.replyTimeoutNs)) {
            reconnect();
        }
        int work = 0;
        try {
            work += cluster.pollEgress();
        } catch (final RuntimeException error) {
            Out.error("client poll " + error);
            isSessionLost = true;
            return 1;
        }
        work += churn.poll();
        if (!toResend.isEmpty()) {
            work += resend();
        }
        if (nowNs - lastOfferNs > KEEP_ALIVE_INTERVAL_NS) {
            lastOfferNs = nowNs;
            cluster.sendKeepAlive();
        }
        if (nowNs >= nextProgressNs) {
            nextProgressNs = nowNs + PROGRESS_INTERVAL_NS;
            Out.line("progress sent=" + ledger.sent + " replied=" + ledger.replied);
        }
        return work;
    }

    private int resend() {
        final ReplyLedger.Sent message = toResend.peekFirst();
        resendBuffer.wrap(message.bytes());
        if (!offer(resendBuffer, message.bytes().length)) {
            return 0;
        }
        toResend.removeFirst();
        ledger.onResent(message);
        resent++;
        return 1;
    }

    /** Waits for the replies still due; what a dead leader took with it is not waited for. */
    private void drain() {
        final long deadlineNs = System.nanoTime() + load.drainTimeoutNs;
        while (isRunning.get() && (ledger.openCount() > 0 || !toResend.isEmpty() || churn.isBusy())) {
            final long nowNs = System.nanoTime();
            if (nowNs > deadlineNs) {
                isDrained = false;
                return;
            }
            idle.idle(poll(nowNs));
        }
    }

    private void connect() {
        final long deadlineNs = System.nanoTime() + flags.connectTimeoutNs;
        while (true) {
            try {
                cluster = AeronCluster.connect(flags.context(aeron).egressListener(this));
                break;
            } catch (final TimeoutException error) {
                if (System.nanoTime() > deadlineNs || !isRunning.get()) {
                    throw error;
                }
            }
        }
        reconnects++;
        isSessionLost = false;
        sendFailingSinceNs = 0;
        lastOfferNs = System.nanoTime();
        connectedNs = lastOfferNs;
        Out.line("client connected session=" + cluster.clusterSessionId() + " leader=" + cluster.leaderMemberId() +
            " term=" + cluster.leadershipTermId());
    }

    private void reconnect() {
        Out.line("client disconnected");
        leaderLost();
        cluster.close();
        connect();
    }

    private void leaderLost() {
        final ArrayDeque<ReplyLedger.Sent> lost = ledger.onLeaderLost();
        if (load.resends) {
            toResend.addAll(lost);
        }
    }

    private void printResult() {
        Out.line("client sent=" + ledger.sent + " replied=" + ledger.replied +
            " unreplied=" + ledger.orphanCount() + " open=" + ledger.openCount() + " resent=" + resent +
            " extra_replies=" + ledger.extra + " out_of_order=" + ledger.outOfOrder + " count_errors=" + ledger.countErrors +
            " lost=" + ledger.lost +
            " reconnects=" + reconnects + " new_leaders=" + newLeaders + " extra_sessions=" + churn.closedCount() +
            " max_gap_us=" + TimeUnit.NANOSECONDS.toMicros(ledger.gapMaxNs) + " " + ledger.roundTrip);
    }

    @Override
    public void onMessage(
        final long clusterSessionId,
        final long timestamp,
        final DirectBuffer buffer,
        final int offset,
        final int length,
        final Header header) {
        ledger.onReply(buffer, offset, System.nanoTime());
    }

    @Override
    public void onSessionEvent(
        final long correlationId,
        final long clusterSessionId,
        final long leadershipTermId,
        final int leaderMemberId,
        final EventCode code,
        final String detail) {
        if (code == EventCode.CLOSED) {
            isSessionLost = true;
        } else if (code != EventCode.OK) {
            Out.line("client event code=" + code + " detail=" + detail);
        }
    }

    @Override
    public void onNewLeader(
        final long clusterSessionId,
        final long leadershipTermId,
        final int leaderMemberId,
        final String ingressEndpoints) {
        newLeaders++;
        Out.line("client newleader member=" + leaderMemberId + " term=" + leadershipTermId +
            " endpoints=" + ingressEndpoints);
        leaderLost();
    }
}
