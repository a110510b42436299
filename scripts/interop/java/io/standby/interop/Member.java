package io.standby.interop;

import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.client.AeronArchive;
import io.aeron.cluster.ConsensusModule;
import io.aeron.cluster.service.ClusterTerminationException;
import io.aeron.cluster.service.ClusteredServiceContainer;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import org.agrona.CloseHelper;
import org.agrona.ErrorHandler;
import org.agrona.IoUtil;
import org.agrona.concurrent.IdleStrategy;

/**
 * One member in one process: media driver, archive, consensus module and one container for each service.
 *
 * <p>Prints {@code member id=0 ready role=FOLLOWER term=0} once its first election is over, then a line
 * {@code member id=0 role=LEADER term=3} for each change, {@code member id=0 election} when one begins,
 * {@code member id=0 commit=P} when the commit position moved, {@code member id=0 stopped} at a clean end, and
 * the services' audit lines. With {@code --lag-commands} it obeys {@link LagCommands} for service 0. With
 * {@code --external-driver} driver and archive are those of an {@link ArchiveHost} in {@code --aeron-dir}. Errors go to
 * stderr. SIGTERM and ClusterControl's SHUTDOWN and ABORT end it cleanly.
 */
public final class Member {
    private static final String LOCAL_CONTROL_CHANNEL = "aeron:ipc?term-length=64k";
    private static final long POLL_MS = 10;
    private static final long ARCHIVE_LINGER_MS = 500;

    private final MemberFlags flags;
    private final CountDownLatch end = new CountDownLatch(1);
    private final List<AutoCloseable> parts = new ArrayList<>();
    private final ErrorHandler errorHandler;

    private Member(final MemberFlags flags) {
        this.flags = flags;
        errorHandler = (error) -> {
            final boolean isExpected = error instanceof ClusterTerminationException &&
                error.getMessage().contains("expected termination") &&
                !error.getMessage().contains("unexpected");
            if (!isExpected) {
                Out.error("member id=" + flags.memberId + " error " + stackTrace(error));
            }
        };
    }

    public static void main(final String[] args) throws Exception {
        final Member member = new Member(new MemberFlags(new Flags(args)));
        final Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            member.end.countDown();
            try {
                main.join(TimeUnit.SECONDS.toMillis(30));
            } catch (final InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            member.launch();
            member.watch();
        } catch (final Throwable error) {
            member.errorHandler.onError(error);
            Runtime.getRuntime().halt(1);
        }
        member.close();
    }

    private void launch() throws Exception {
        final File archiveDir = new File(flags.baseDir, "archive");
        final File clusterDir = new File(flags.baseDir, "cluster");
        final Supplier<IdleStrategy> idle = Idle.named(flags.idle);
        if (!flags.usesExternalDriver) {
            prepare(archiveDir);
            parts.add(MediaDriver.launch(driver(idle)));
            parts.add(Archive.launch(archive(archiveDir, idle)));
        }
        prepare(clusterDir);
        parts.add(ConsensusModule.launch(consensusModule(clusterDir, idle)));
        for (int id = 0; id < flags.serviceCount; id++) {
            parts.add(ClusteredServiceContainer.launch(container(id, clusterDir, idle)));
        }
    }

    private void prepare(final File dir) throws IOException {
        if (flags.isCleanStart) {
            IoUtil.delete(dir, true);
        } else if (flags.takeOverMarks) {
            MarkFiles.release(dir);
        }
    }

    private MediaDriver.Context driver(final Supplier<IdleStrategy> idle) {
        final MediaDriver.Context context = new MediaDriver.Context()
            .aeronDirectoryName(flags.aeronDir)
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(false)
            .threadingMode(ThreadingMode.valueOf(flags.threading.toUpperCase()))
            .sharedIdleStrategy(idle.get())
            .sharedNetworkIdleStrategy(idle.get())
            .conductorIdleStrategy(idle.get())
            .senderIdleStrategy(idle.get())
            .receiverIdleStrategy(idle.get())
            .termBufferSparseFile(true)
            .ipcTermBufferLength((int)flags.ipcTermLength)
            .spiesSimulateConnection(true)
            .errorHandler(errorHandler);
        if (flags.mtuLength > 0) {
            context.mtuLength(flags.mtuLength).ipcMtuLength(flags.mtuLength);
        }
        return context;
    }

    private Archive.Context archive(final File archiveDir, final Supplier<IdleStrategy> idle) {
        final Archive.Context context = new Archive.Context()
            .aeronDirectoryName(flags.aeronDir)
            .archiveDir(archiveDir)
            .controlChannel("aeron:udp?endpoint=" + flags.archiveBind)
            .localControlChannel(LOCAL_CONTROL_CHANNEL)
            .replicationChannel("aeron:udp?endpoint=" + flags.host + ":0")
            .recordingEventsEnabled(false)
            .segmentFileLength(flags.segmentLength)
            .fileSyncLevel(flags.fileSyncLevel)
            .catalogFileSyncLevel(flags.fileSyncLevel)
            .threadingMode(ArchiveThreadingMode.SHARED)
            .idleStrategySupplier(idle)
            .errorHandler(errorHandler);
        if (flags.archiveSecurity != null) {
            context.authenticatorSupplier(flags.archiveSecurity.authenticator());
            context.archiveClientContext(new AeronArchive.Context()
                .controlResponseChannel("aeron:udp?endpoint=" + flags.host + ":0")
                .credentialsSupplier(flags.archiveSecurity.credentialsSupplier()));
        }
        return context;
    }

    private ConsensusModule.Context consensusModule(final File clusterDir, final Supplier<IdleStrategy> idle) {
        final ConsensusModule.Context context = new ConsensusModule.Context()
            .aeronDirectoryName(flags.aeronDir)
            .clusterDir(clusterDir)
            .clusterMemberId(flags.memberId)
            .clusterMembers(flags.clusterMembers)
            .appointedLeaderId(flags.appointedLeaderId)
            .serviceCount(flags.serviceCount)
            .ingressChannel("aeron:udp")
            .logChannel("aeron:udp?term-length=" + flags.logTermLength)
            .replicationChannel("aeron:udp?endpoint=" + flags.host + ":0")
            .archiveContext(localArchive())
            .fileSyncLevel(flags.fileSyncLevel)
            .maxConcurrentSessions(flags.sessionsMax)
            .acceptStandbySnapshots(flags.acceptStandbySnapshots)
            .idleStrategySupplier(idle)
            .terminationHook(end::countDown)
            .errorHandler(errorHandler);
        setTimeouts(context);
        if (flags.security != null) {
            context.authenticatorSupplier(flags.security.authenticator());
        }
        return context;
    }

    private void setTimeouts(final ConsensusModule.Context context) {
        context
            .sessionTimeoutNs(flags.durationNs("session-timeout-ms", 10_000, context.sessionTimeoutNs()))
            .leaderHeartbeatTimeoutNs(
                flags.durationNs("heartbeat-timeout-ms", 2_000, context.leaderHeartbeatTimeoutNs()))
            .leaderHeartbeatIntervalNs(
                flags.durationNs("heartbeat-interval-ms", 100, context.leaderHeartbeatIntervalNs()))
            .electionTimeoutNs(flags.durationNs("election-timeout-ms", 500, context.electionTimeoutNs()))
            .startupCanvassTimeoutNs(
                flags.durationNs("canvass-timeout-ms", 5_000, context.startupCanvassTimeoutNs()))
            .electionStatusIntervalNs(
                flags.durationNs("status-interval-ms", 50, context.electionStatusIntervalNs()))
            .terminationTimeoutNs(
                flags.durationNs("termination-timeout-ms", 5_000, context.terminationTimeoutNs()));
    }

    private ClusteredServiceContainer.Context container(
        final int serviceId, final File clusterDir, final Supplier<IdleStrategy> idle) {
        final LagHistogram lag = flags.recordsLag ? new LagHistogram() : null;
        if (flags.obeysLagCommands && serviceId == 0) {
            LagCommands.serve(lag);
        }
        final Audit service = service(lag);
        service.delaySnapshots(flags.snapshotDelayNs);
        return new ClusteredServiceContainer.Context()
            .aeronDirectoryName(flags.aeronDir)
            .clusterDir(clusterDir)
            .serviceId(serviceId)
            .clusteredService(service)
            .archiveContext(localArchive())
            .idleStrategySupplier(idle)
            // The consensus module ends the member: it still has to tell the others after its services are done.
            .terminationHook(() -> Out.line("member id=" + flags.memberId + " service=" + serviceId + " terminated"))
            .errorHandler(errorHandler);
    }

    private Audit service(final LagHistogram lag) {
        if (flags.isCounting) {
            return new CountingAudit();
        }
        return flags.isBurst ? new BurstAudit(flags.ballastLength, lag) : new Audit(flags.ballastLength, lag);
    }

    private AeronArchive.Context localArchive() {
        final AeronArchive.Context context = new AeronArchive.Context()
            .controlRequestChannel(LOCAL_CONTROL_CHANNEL)
            .controlResponseChannel(LOCAL_CONTROL_CHANNEL);
        if (flags.archiveSecurity != null) {
            context.credentialsSupplier(flags.archiveSecurity.credentialsSupplier());
        }
        return context;
    }

    /** Prints what the counters tell until the end is asked for. */
    private void watch() throws InterruptedException {
        final ClusterCounters counters = new ClusterCounters(flags.aeronDir);
        final MemberReport report = new MemberReport(flags.memberId, counters);
        while (!end.await(POLL_MS, TimeUnit.MILLISECONDS)) {
            report.poll(System.currentTimeMillis());
        }
    }

    private void close() throws InterruptedException {
        Collections.reverse(parts);
        for (final AutoCloseable part : parts) {
            if (part instanceof Archive) {
                // Whoever replays the log is to read it to its end, which the consensus module has only just committed.
                Thread.sleep(ARCHIVE_LINGER_MS);
            }
            CloseHelper.close(errorHandler, part);
        }
        Out.line("member id=" + flags.memberId + " stopped");
    }

    private static String stackTrace(final Throwable error) {
        final StringWriter text = new StringWriter();
        error.printStackTrace(new PrintWriter(text));
        return text.toString();
    }
}
