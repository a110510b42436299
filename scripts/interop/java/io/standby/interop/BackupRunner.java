package io.standby.interop;

import java.io.File;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.client.AeronArchive;
import io.aeron.cluster.ClusterBackup;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import org.agrona.ErrorHandler;
import org.agrona.IoUtil;
import org.agrona.concurrent.IdleStrategy;

/**
 * The official ClusterBackup with its archive and driver in one process, as the rival of a bench.
 *
 * <p>Owns the ports {@code --port} (archive control), + 1 (consensus) and + 2 (catch-up). Prints
 * {@code backup position=P elapsed_ms=T cpu_ms=C} while the recorded position moves; with
 * {@code --until-position P} ends there after a line {@code backup reached position=P elapsed_ms=T cpu_ms=C}.
 * Times count from the first line {@code backup started}.
 */
public final class BackupRunner {
    private static final String LOCAL_CONTROL_CHANNEL = "aeron:ipc?term-length=64k";
    private static final ErrorHandler ERRORS = (error) -> Out.error("backup error " + error);

    private BackupRunner() {
    }

    public static void main(final String[] args) throws InterruptedException {
        final Flags flags = new Flags(args);
        final File dir = new File(flags.text("dir")).getAbsoluteFile();
        final String aeronDir = flags.text("aeron-dir", new File(dir, "driver").getPath());
        final String host = flags.text("host", "localhost");
        final int port = flags.integer("port", 20900);
        final Supplier<IdleStrategy> idle = Idle.named(flags.text("idle", "backoff"));
        final long untilPosition = flags.size("until-position", Long.MAX_VALUE);
        final int mtuLength = flags.integer("mtu", 0);
        final ThreadingMode threading = ThreadingMode.valueOf(flags.text("threading", "shared").toUpperCase());
        final int segmentLength = (int)flags.size("segment-length", 128 * 1024 * 1024);
        final boolean isCleanStart = flags.isSet("clean");

        final AeronArchive.Context localArchive = new AeronArchive.Context()
            .aeronDirectoryName(aeronDir)
            .controlRequestChannel(LOCAL_CONTROL_CHANNEL)
            .controlResponseChannel(LOCAL_CONTROL_CHANNEL);
        final AeronArchive.Context clusterArchive = new AeronArchive.Context()
            .aeronDirectoryName(aeronDir)
            .controlRequestChannel("aeron:udp?endpoint=" + host + ":" + port)
            .controlResponseChannel("aeron:udp?endpoint=" + host + ":0");
        final CountDownLatch end = new CountDownLatch(1);
        final ClusterBackup.Context backup = new ClusterBackup.Context()
            .aeronDirectoryName(aeronDir)
            .clusterDir(new File(dir, "cluster"))
            .clusterConsensusEndpoints(flags.text("consensus-endpoints"))
            .consensusChannel("aeron:udp?endpoint=" + host + ":" + (port + 1))
            .catchupEndpoint(host + ":" + (port + 2))
            .sourceType(ClusterBackup.SourceType.valueOf(flags.text("source-type", "ANY")))
            .clusterBackupResponseTimeoutNs(ms(flags, "response-timeout-ms", 2_000))
            .clusterBackupCoolDownIntervalNs(ms(flags, "cool-down-ms", 1_000))
            .clusterBackupProgressTimeoutNs(ms(flags, "progress-timeout-ms", 10_000))
            .archiveContext(localArchive)
            .clusterArchiveContext(clusterArchive)
            .idleStrategySupplier(idle)
            .terminationHook(end::countDown)
            .errorHandler(ERRORS);
        final Security security = Security.from(flags, "");
        final Security archiveSecurity = Security.from(flags, "archive-");
        flags.finish();
        if (security != null) {
            backup.credentialsSupplier(security.credentialsSupplier());
        }
        if (archiveSecurity != null) {
            clusterArchive.credentialsSupplier(archiveSecurity.credentialsSupplier());
        }
        if (isCleanStart) {
            IoUtil.delete(dir, true);
        }

        final MediaDriver.Context driver = new MediaDriver.Context()
            .aeronDirectoryName(aeronDir)
            .dirDeleteOnStart(true)
            .threadingMode(threading)
            .sharedIdleStrategy(idle.get())
            .sharedNetworkIdleStrategy(idle.get())
            .termBufferSparseFile(true)
            .errorHandler(ERRORS);
        if (mtuLength > 0) {
            driver.mtuLength(mtuLength);
        }
        final Archive.Context archive = new Archive.Context()
            .aeronDirectoryName(aeronDir)
            .archiveDir(new File(dir, "archive"))
            .controlChannel("aeron:udp?endpoint=" + host + ":" + port)
            .localControlChannel(LOCAL_CONTROL_CHANNEL)
            .replicationChannel("aeron:udp?endpoint=" + host + ":0")
            .recordingEventsEnabled(false)
            .segmentFileLength(segmentLength)
            .threadingMode(ArchiveThreadingMode.SHARED)
            .idleStrategySupplier(idle)
            .errorHandler(ERRORS);
        if (archiveSecurity != null) {
            // Snapshots are replicated from archive to archive, so ours has to present itself as well.
            archive.archiveClientContext(new AeronArchive.Context()
                .controlResponseChannel("aeron:udp?endpoint=" + host + ":0")
                .credentialsSupplier(archiveSecurity.credentialsSupplier()));
        }
        endOnSignal(end);
        try (MediaDriver ignoredDriver = MediaDriver.launch(driver);
            Archive ignoredArchive = Archive.launch(archive);
            ClusterBackup ignoredBackup = ClusterBackup.launch(backup)) {
            watch(new ClusterCounters(aeronDir), untilPosition, end);
        }
        Out.line("backup stopped");
        Runtime.getRuntime().halt(0);
    }

    private static void watch(
        final ClusterCounters counters, final long untilPosition, final CountDownLatch end)
        throws InterruptedException {
        final long startNs = System.nanoTime();
        final long startCpuMs = Cpu.usedMs();
        Out.line("backup started");
        long printed = -1;
        long nextPrintNs = startNs;
        while (!end.await(1, TimeUnit.MILLISECONDS)) {
            final long position = counters.value(ClusterCounters.BACKUP_LIVE_LOG_POSITION);
            final long nowNs = System.nanoTime();
            final boolean isReached = position >= untilPosition;
            if (isReached || (nowNs >= nextPrintNs && position != printed)) {
                printed = position;
                nextPrintNs = nowNs + TimeUnit.MILLISECONDS.toNanos(100);
                Out.line("backup " + (isReached ? "reached " : "") + "position=" + position +
                    " elapsed_ms=" + TimeUnit.NANOSECONDS.toMillis(nowNs - startNs) +
                    " cpu_ms=" + (Cpu.usedMs() - startCpuMs));
                if (isReached) {
                    return;
                }
            }
        }
    }

    private static void endOnSignal(final CountDownLatch end) {
        final Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            end.countDown();
            try {
                main.join(10_000);
            } catch (final InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    private static long ms(final Flags flags, final String name, final long fallback) {
        return TimeUnit.MILLISECONDS.toNanos(flags.size(name, fallback));
    }
}
