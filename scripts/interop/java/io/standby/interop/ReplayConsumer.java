package io.standby.interop;

import java.io.File;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

import io.aeron.Aeron;
import io.aeron.FragmentAssembler;
import io.aeron.Subscription;
import io.aeron.archive.client.AeronArchive;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.exceptions.TimeoutException;
import org.agrona.IoUtil;
import org.agrona.concurrent.IdleStrategy;

/**
 * What a Java standby would do at least: asks a member with a BackupQuery, follows its log by a bounded replay over
 * UDP and runs the audit service on it, with no recording of its own. The rival in the apply-lag bench.
 *
 * <p>Prints {@code replay started recording=R counter=C archive=HOST:PORT}, the audit lines, and at the end
 * {@code lag service=0 count=N p50_us=...} and {@code replay position=P messages=N elapsed_ms=T cpu_ms=C}. Ends at
 * {@code --until-position}, after {@code --idle-ms} without a message, at the end of the replay, or on SIGTERM. With
 * {@code --commands} it obeys {@link LagCommands}.
 */
public final class ReplayConsumer {
    private static final int REPLAY_STREAM_ID = 100;
    private static final int FRAGMENT_LIMIT = 64;

    private ReplayConsumer() {
    }

    public static void main(final String[] args) {
        final Flags flags = new Flags(args);
        final String host = flags.text("host", "localhost");
        final int port = flags.integer("port", 20950);
        final String consensusEndpoint = flags.text("consensus-endpoint");
        final long untilPosition = flags.size("until-position", Long.MAX_VALUE);
        final long idleLimitNs = TimeUnit.MILLISECONDS.toNanos(flags.size("idle-ms", Long.MAX_VALUE / 1_000_000));
        final long warmup = flags.size("warmup", 0);
        final int ballastLength = flags.integer("ballast", 0);
        final boolean obeysCommands = flags.isSet("commands");
        final String idleName = flags.text("idle", "backoff");
        final ThreadingMode threading = ThreadingMode.valueOf(flags.text("threading", "shared").toUpperCase());
        final int mtuLength = flags.integer("mtu", 0);
        final String aeronDir =
            flags.text("aeron-dir", "/dev/shm/standby-replay-" + ProcessHandle.current().pid());
        final Security security = Security.from(flags, "");
        final Security archiveSecurity = Security.from(flags, "archive-");
        flags.finish();

        final IdleStrategy idle = Idle.named(idleName).get();
        final MediaDriver.Context driverContext = new MediaDriver.Context()
            .aeronDirectoryName(aeronDir)
            .dirDeleteOnStart(true)
            .threadingMode(threading)
            .sharedIdleStrategy(Idle.named(idleName).get())
            .sharedNetworkIdleStrategy(Idle.named(idleName).get())
            .termBufferSparseFile(true);
        if (mtuLength > 0) {
            driverContext.mtuLength(mtuLength);
        }
        final AtomicBoolean isRunning = endOnSignal();
        try (MediaDriver driver = MediaDriver.launch(driverContext);
            Aeron aeron = Aeron.connect(new Aeron.Context().aeronDirectoryName(aeronDir))) {
            final BackupQuery.Answer answer =
                BackupQuery.ask(aeron, consensusEndpoint, host + ":" + (port + 1), security);
            final AeronArchive.Context archiveContext = new AeronArchive.Context()
                .aeron(aeron)
                .ownsAeronClient(false)
                .controlRequestChannel("aeron:udp?endpoint=" + answer.archiveEndpoint())
                .controlResponseChannel("aeron:udp?endpoint=" + host + ":0");
            if (archiveSecurity != null) {
                archiveContext.credentialsSupplier(archiveSecurity.credentialsSupplier());
            }
            try (AeronArchive archive = AeronArchive.connect(archiveContext)) {
                final String channel = "aeron:udp?endpoint=" + host + ":" + (port + 2);
                final Subscription subscription = aeron.addSubscription(channel, REPLAY_STREAM_ID);
                final long startNs = System.nanoTime();
                final long startCpuMs = Cpu.usedMs();
                archive.startBoundedReplay(answer.recordingId(), 0, AeronArchive.NULL_LENGTH,
                    answer.commitPositionCounterId(), channel, REPLAY_STREAM_ID);
                Out.line("replay started recording=" + answer.recordingId() +
                    " counter=" + answer.commitPositionCounterId() + " archive=" + answer.archiveEndpoint());

                final LogAudit audit = new LogAudit(ballastLength, warmup);
                if (obeysCommands) {
                    LagCommands.serve(audit.lag);
                }
                consume(subscription, audit, idle, untilPosition, idleLimitNs, isRunning);
                audit.print();
                Out.line("lag service=0 " + audit.lag);
                Out.line("replay position=" + audit.position + " messages=" + audit.messages +
                    " elapsed_ms=" + TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - startNs) +
                    " cpu_ms=" + (Cpu.usedMs() - startCpuMs));
            }
        } finally {
            IoUtil.delete(new File(aeronDir), true);
        }
        Runtime.getRuntime().halt(0);
    }

    private static void consume(
        final Subscription subscription,
        final LogAudit audit,
        final IdleStrategy idle,
        final long untilPosition,
        final long idleLimitNs,
        final AtomicBoolean isRunning) {
        final FragmentAssembler assembler = new FragmentAssembler(audit);
        final long connectDeadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
        long lastNs = System.nanoTime();
        boolean hasImage = false;
        while (isRunning.get() && audit.position < untilPosition) {
            final int fragments = subscription.poll(assembler, FRAGMENT_LIMIT);
            if (fragments > 0) {
                lastNs = System.nanoTime();
            } else {
                final long nowNs = System.nanoTime();
                hasImage |= subscription.isConnected();
                if (!hasImage && nowNs > connectDeadlineNs) {
                    throw new TimeoutException("no replay image");
                }
                if (nowNs - lastNs > idleLimitNs || (hasImage && subscription.hasNoImages())) {
                    return;
                }
            }
            idle.idle(fragments);
        }
    }

    private static AtomicBoolean endOnSignal() {
        final AtomicBoolean isRunning = new AtomicBoolean(true);
        final Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            isRunning.set(false);
            try {
                main.join(10_000);
            } catch (final InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        return isRunning;
    }
}
