import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.ArchivingMediaDriver;
import io.aeron.archive.client.AeronArchive;
import io.aeron.archive.codecs.SourceLocation;
import io.aeron.cluster.NodeStateFile;
import io.aeron.cluster.RecordingLog;
import io.aeron.cluster.codecs.mark.ClusterComponentType;
import io.aeron.cluster.service.ClusterMarkFile;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import org.agrona.concurrent.SystemEpochClock;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.agrona.concurrent.errors.ErrorLogReader;
import org.agrona.concurrent.status.CountersReader;

import java.io.File;
import java.nio.file.Files;

/**
 * The Java side of tests/official_tools.rs: writes a node's files with Aeron's own classes, and opens with them
 * what the Rust stores wrote. One command a run; results go to standard output, one line each.
 */
public final class NodeFiles
{
    private static final int TERM_LENGTH = 64 * 1024;

    public static void main(final String[] args) throws Exception
    {
        final File dir = new File(args[1]);
        switch (args[0])
        {
            case "write-cluster" -> writeCluster(dir);
            case "write-archive" -> writeArchive(dir);
            case "list-archive" -> listArchive(dir);
            case "take-over" -> takeOver(dir);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void writeCluster(final File dir) throws Exception
    {
        try (RecordingLog log = new RecordingLog(dir, true))
        {
            log.appendTerm(7, 0, 0, 1000);
            log.appendSnapshot(20, 0, 0, 4096, 2000, 0);
            log.appendSnapshot(19, 0, 0, 4096, 2000, -1);
            log.appendStandbySnapshot(21, 0, 0, 8192, 3000, 0, "host0:10001");
            log.appendStandbySnapshot(22, 0, 0, 8192, 3000, -1, "a-rather-long-host-name.example.com:10001");
            log.appendTerm(7, 1, 9600, 4000);
            log.appendSnapshot(30, 1, 9600, 12800, 5000, 0);
            log.appendSnapshot(29, 1, 9600, 12800, 5000, -1);
            log.invalidateLatestSnapshot();
        }

        try (NodeStateFile state = new NodeStateFile(dir, true, 0))
        {
            state.updateCandidateTermId(12, 9600, 34);
        }

        final SystemEpochClock clock = SystemEpochClock.INSTANCE;
        try (ClusterMarkFile mark = markFile(dir, clock))
        {
            mark.encoder().memberId(3).clusterId(5).serviceId(-1).archiveStreamId(10).ingressStreamId(101)
                .aeronDirectory("/dev/shm/aeron-x").controlChannel("aeron:ipc").ingressChannel("aeron:udp")
                .serviceName(null).authenticator(null).servicesClusterDir("/s");
            mark.signalReady(clock.time());
            mark.signalTerminated();
        }
    }

    /** Opens a standby's mark file as a consensus module would, and says what it found. */
    private static void takeOver(final File dir) throws Exception
    {
        final SystemEpochClock clock = SystemEpochClock.INSTANCE;
        final File file = new File(dir, ClusterMarkFile.FILENAME);
        try (ClusterMarkFile mark = new ClusterMarkFile(dir, file.getName(), clock, 0, null))
        {
            ErrorLogReader.read(mark.errorBuffer(), (count, first, last, text) ->
                System.out.println("error " + count + " " + first + " " + last + " " + text));
        }
        try (NodeStateFile state = new NodeStateFile(dir, false, 0))
        {
            System.out.println("candidate " + state.candidateTerm().candidateTermId() + " " +
                state.candidateTerm().timestamp() + " " + state.candidateTerm().logPosition());
        }
        try (ClusterMarkFile mark = markFile(dir, clock))
        {
            System.out.println("taken over " + mark.decoder().componentType());
        }
    }

    private static ClusterMarkFile markFile(final File dir, final SystemEpochClock clock)
    {
        return new ClusterMarkFile(
            new File(dir, ClusterMarkFile.FILENAME),
            ClusterComponentType.CONSENSUS_MODULE,
            ClusterMarkFile.ERROR_BUFFER_MIN_LENGTH,
            clock,
            10_000,
            4096);
    }

    private static void writeArchive(final File dir) throws Exception
    {
        withArchive(dir, (aeron, archive) ->
        {
            record(aeron, archive, "aeron:ipc?term-length=64k|alias=log", 100, 10);
            record(aeron, archive, "aeron:ipc?term-length=64k", 101, 1);
        });
    }

    private static void listArchive(final File dir) throws Exception
    {
        withArchive(dir, (aeron, archive) -> archive.listRecordings(0, 100,
            (controlSessionId, correlationId, recordingId, startTimestamp, stopTimestamp, startPosition,
            stopPosition, initialTermId, segmentFileLength, termBufferLength, mtuLength, sessionId, streamId,
            strippedChannel, originalChannel, sourceIdentity) -> System.out.println("recording " + recordingId +
            " " + startPosition + " " + stopPosition + " " + sessionId + " " + originalChannel)));
    }

    private interface Body
    {
        void run(Aeron aeron, AeronArchive archive) throws Exception;
    }

    private static void withArchive(final File dir, final Body body) throws Exception
    {
        final File temp = Files.createTempDirectory("standby-test").toFile();
        temp.deleteOnExit();
        final String aeronDir = new File(temp, "aeron").getPath();
        final MediaDriver.Context driver = new MediaDriver.Context()
            .aeronDirectoryName(aeronDir)
            .threadingMode(ThreadingMode.SHARED)
            .sharedIdleStrategy(YieldingIdleStrategy.INSTANCE)
            .termBufferSparseFile(true)
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(true);
        final Archive.Context archiveContext = new Archive.Context()
            .aeronDirectoryName(aeronDir)
            .archiveDir(dir)
            .deleteArchiveOnStart(false)
            .segmentFileLength(TERM_LENGTH)
            .controlChannelEnabled(false)
            .archiveClientContext(new AeronArchive.Context().controlResponseChannel("aeron:udp?endpoint=localhost:0"))
            .replicationChannel("aeron:udp?endpoint=localhost:0")
            .threadingMode(ArchiveThreadingMode.SHARED);
        try (ArchivingMediaDriver ignore = ArchivingMediaDriver.launch(driver, archiveContext);
            Aeron aeron = Aeron.connect(new Aeron.Context().aeronDirectoryName(aeronDir));
            AeronArchive archive = AeronArchive.connect(new AeronArchive.Context()
                .aeron(aeron)
                .controlRequestChannel("aeron:ipc")
                .controlResponseChannel("aeron:ipc")))
        {
            body.run(aeron, archive);
        }
    }

    private static void record(
        final Aeron aeron, final AeronArchive archive, final String channel, final int streamId, final int count)
        throws Exception
    {
        archive.startRecording(channel, streamId, SourceLocation.LOCAL);
        try (ExclusivePublication publication = aeron.addExclusivePublication(channel, streamId))
        {
            final UnsafeBuffer message = new UnsafeBuffer(new byte[100]);
            for (int i = 0; i < count; i++)
            {
                while (publication.offer(message) < 0)
                {
                    Thread.sleep(1);
                }
            }
            final CountersReader counters = aeron.countersReader();
            int counterId;
            while ((counterId = io.aeron.archive.status.RecordingPos.findCounterIdBySession(
                counters, publication.sessionId())) == CountersReader.NULL_COUNTER_ID)
            {
                Thread.sleep(1);
            }
            while (counters.getCounterValue(counterId) < publication.position())
            {
                Thread.sleep(1);
            }
            System.out.println("recorded " + streamId + " " + publication.position() + " " + publication.sessionId());
            archive.stopRecording(channel, streamId);
        }
    }
}
