package io.standby.interop;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;

import io.aeron.Aeron;
import io.aeron.Image;
import io.aeron.Subscription;
import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.ArchivingMediaDriver;
import io.aeron.archive.client.AeronArchive;
import io.aeron.archive.client.ArchiveException;
import io.aeron.archive.client.RecordingDescriptorConsumer;
import io.aeron.archive.client.ReplayParams;
import io.aeron.archive.client.ReplicationParams;
import io.aeron.archive.codecs.SourceLocation;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import org.agrona.IoUtil;
import org.agrona.concurrent.IdleStrategy;

/**
 * An official client of whatever archive is at {@code --control}, and with {@code --archive-dir} an official archive
 * that replicates from it. Obeys one command a line of stdin and answers each by a line that begins with {@code ok}
 * or {@code error code=N}, after lines of detail:
 *
 * <pre>
 * list FROM COUNT | uri FROM COUNT STREAM FRAGMENT | describe ID | find MIN SESSION STREAM FRAGMENT
 * positions ID
 * replay ID POSITION LENGTH COUNTER UNTIL     COUNTER -1 for an unbounded one; stays open when UNTIL is reached
 * stop                                        stops that replay
 * change WHAT                                 asks for what a standby's archive does not do
 * replicate ID UNTIL                          to the own archive; UNTIL -1 for the end
 * forget ID                                   purges what was replicated as recording ID of the own archive
 * </pre>
 */
public final class ArchiveClient {
    private static final int REPLAY_STREAM_ID = 77;
    private static final long TIMEOUT_NS = TimeUnit.SECONDS.toNanos(60);

    private final Aeron aeron;
    private final AeronArchive archive;
    private final AeronArchive ownArchive;
    private final String control;
    private final String host;
    private final Security security;
    private final IdleStrategy idle = Idle.named("backoff").get();
    private final RecordingDescriptorConsumer printer;
    private Subscription replay;
    private long replaySessionId;
    private final StringBuilder signals = new StringBuilder();
    private long ownRecordingId = Aeron.NULL_VALUE;

    private ArchiveClient(
        final Aeron aeron, final String control, final String host, final Security security, final boolean hasOwn) {
        this.aeron = aeron;
        this.control = control;
        this.host = host;
        this.security = security;
        final AeronArchive.Context context = new AeronArchive.Context()
            .aeron(aeron)
            .ownsAeronClient(false)
            .controlRequestChannel("aeron:udp?endpoint=" + control)
            .controlResponseChannel("aeron:udp?endpoint=" + host + ":0");
        if (security != null) {
            context.credentialsSupplier(security.credentialsSupplier());
        }
        archive = AeronArchive.connect(context);
        ownArchive = hasOwn ? connectOwn(aeron) : null;
        printer = (controlSessionId, correlationId, recordingId, startTimestamp, stopTimestamp, startPosition,
            stopPosition, initialTermId, segmentFileLength, termBufferLength, mtuLength, sessionId, streamId,
            strippedChannel, originalChannel, sourceIdentity) ->
            Out.line("recording id=" + recordingId + " start=" + startPosition + " stop=" + stopPosition +
                " initialTermId=" + initialTermId + " segment=" + segmentFileLength + " term=" + termBufferLength +
                " mtu=" + mtuLength + " session=" + sessionId + " stream=" + streamId + " channel=" + originalChannel +
                " source=" + sourceIdentity);
    }

    private AeronArchive connectOwn(final Aeron aeron) {
        return AeronArchive.connect(new AeronArchive.Context()
            .aeron(aeron)
            .ownsAeronClient(false)
            .controlRequestChannel("aeron:ipc?term-length=64k")
            .controlResponseChannel("aeron:ipc?term-length=64k")
            .controlRequestStreamId(11)
            .recordingSignalConsumer((controlSessionId, correlationId, recordingId, subscriptionId, position, signal) -> {
                signals.append(' ').append(signal);
                ownRecordingId = recordingId;
                Out.line("signal " + signal + " recording=" + recordingId + " position=" + position);
            }));
    }

    public static void main(final String[] args) throws IOException {
        final Flags flags = new Flags(args);
        final String control = flags.text("control");
        final String host = flags.text("host", "localhost");
        final String archiveDir = flags.text("archive-dir", null);
        final int archivePort = flags.integer("archive-port", 0);
        final String aeronDir =
            flags.text("aeron-dir", "/dev/shm/standby-archive-client-" + ProcessHandle.current().pid());
        final Security security = Security.from(flags, "");
        flags.finish();

        final MediaDriver.Context driverContext = new MediaDriver.Context()
            .aeronDirectoryName(aeronDir)
            .dirDeleteOnStart(true)
            .threadingMode(ThreadingMode.SHARED)
            .sharedIdleStrategy(Idle.named("backoff").get())
            .termBufferSparseFile(true);
        final AutoCloseable driver = archiveDir == null ?
            MediaDriver.launch(driverContext) :
            ArchivingMediaDriver.launch(driverContext, new Archive.Context()
                .aeronDirectoryName(aeronDir)
                .archiveDirectoryName(archiveDir)
                .controlChannel("aeron:udp?endpoint=" + host + ":" + archivePort)
                .localControlChannel("aeron:ipc?term-length=64k")
                .localControlStreamId(11)
                .replicationChannel("aeron:udp?endpoint=" + host + ":0")
                .recordingEventsEnabled(false)
                .threadingMode(ArchiveThreadingMode.SHARED));
        int status = 0;
        try (Aeron aeron = Aeron.connect(new Aeron.Context().aeronDirectoryName(aeronDir))) {
            status = serve(aeron, control, host, security, archiveDir != null);
        } finally {
            try {
                driver.close();
            } catch (final Exception exception) {
                Out.error("closing: " + exception);
            }
            IoUtil.delete(new File(aeronDir), true);
        }
        Runtime.getRuntime().halt(status);
    }

    private static int serve(
        final Aeron aeron, final String control, final String host, final Security security, final boolean hasOwn)
        throws IOException {
        final ArchiveClient client;
        try {
            client = new ArchiveClient(aeron, control, host, security, hasOwn);
        } catch (final ArchiveException exception) {
            Out.line("refused code=" + exception.errorCode() + " " + exception.getMessage());
            return 0;
        }
        Out.line("connected archiveId=" + client.archive.archiveId());
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                Out.line("ok " + client.run(line.split(" ")));
            } catch (final ArchiveException exception) {
                Out.line("error code=" + exception.errorCode() + " " + exception.getMessage());
            } catch (final RuntimeException exception) {
                Out.line("error code=none " + exception);
            }
        }
        client.archive.close();
        return 0;
    }

    private String run(final String[] words) {
        return switch (words[0]) {
            case "list" -> "count=" + archive.listRecordings(number(words[1]), (int)number(words[2]), printer);
            case "uri" -> "count=" + archive.listRecordingsForUri(
                number(words[1]), (int)number(words[2]), words[4], (int)number(words[3]), printer);
            case "describe" -> "count=" + archive.listRecording(number(words[1]), printer);
            case "find" -> "id=" + archive.findLastMatchingRecording(
                number(words[1]), words[4], (int)number(words[3]), (int)number(words[2]));
            case "positions" -> positions(number(words[1]));
            case "replay" -> replay(
                number(words[1]), number(words[2]), number(words[3]), (int)number(words[4]), number(words[5]));
            case "stop" -> stop();
            case "subscriptions" -> "count=" + archive.listRecordingSubscriptions(
                0, 10, "", 0, false, (correlationId, csid, subscriptionId, streamId, channel) -> { });
            case "change" -> change(words[1], words.length > 2 ? number(words[2]) : 0);
            case "replicate" -> replicate(number(words[1]), number(words[2]));
            case "forget" -> "segments=" + ownArchive.purgeRecording(number(words[1]));
            default -> throw new IllegalArgumentException("unknown command " + words[0]);
        };
    }

    private static long number(final String word) {
        return Long.parseLong(word);
    }

    private String positions(final long recordingId) {
        return "start=" + archive.getStartPosition(recordingId) + " stop=" + archive.getStopPosition(recordingId) +
            " recording=" + archive.getRecordingPosition(recordingId) +
            " max=" + archive.getMaxRecordedPosition(recordingId);
    }

    private String replay(
        final long recordingId, final long position, final long length, final int counterId, final long until) {
        closeReplay();
        final String channel = "aeron:udp?endpoint=" + host + ":0";
        replay = aeron.addSubscription(channel, REPLAY_STREAM_ID);
        final String resolved = resolved(replay);
        final ReplayParams params = new ReplayParams().position(position).length(length);
        if (counterId >= 0) {
            params.boundingLimitCounterId(counterId);
        }
        try {
            replaySessionId = archive.startReplay(recordingId, resolved, REPLAY_STREAM_ID, params);
        } catch (final RuntimeException exception) {
            closeReplay();
            throw exception;
        }
        return consume(until);
    }

    /** Hashes position, flags and payload of every fragment. */
    private String consume(final long until) {
        final long deadlineNs = System.nanoTime() + TIMEOUT_NS;
        final CRC32 crc = new CRC32();
        final long[] counts = new long[1];
        Image image = null;
        while (image == null) {
            image = replay.imageBySessionId((int)replaySessionId);
            await(deadlineNs, "an image", 0);
        }
        final long joined = image.joinPosition();
        final byte[] bytes = new byte[65_536];
        while (image.position() < until && !image.isClosed() && !image.isEndOfStream()) {
            final int fragments = image.poll((buffer, offset, length, header) -> {
                for (int shift = 0; shift < 64; shift += 8) {
                    crc.update((int)(header.position() >> shift) & 0xff);
                }
                crc.update(header.flags() & 0xff);
                buffer.getBytes(offset, bytes, 0, length);
                crc.update(bytes, 0, length);
                counts[0]++;
            }, 256);
            await(deadlineNs, "position " + until + ", is at " + image.position(), fragments);
        }
        final String end = image.isEndOfStream() ? "eos" : image.isClosed() ? "closed" : "open";
        return "joined=" + joined + " position=" + image.position() + " fragments=" + counts[0] +
            " crc=" + crc.getValue() + " end=" + end;
    }

    private String stop() {
        final Image image = replay.imageBySessionId((int)replaySessionId);
        archive.stopReplay(replaySessionId);
        final long deadlineNs = System.nanoTime() + TIMEOUT_NS;
        while (!image.isClosed() && !isRevoked(image)) {
            image.poll((buffer, offset, length, header) -> { }, 256);
            await(deadlineNs, "the end of the stopped replay", 0);
        }
        final boolean isRevoked = isRevoked(image);
        closeReplay();
        return "revoked=" + isRevoked;
    }

    /** Members of 1.47 know of no revoked streams, and their Image has no method that tells. */
    private static boolean isRevoked(final Image image) {
        try {
            return (boolean)Image.class.getMethod("isPublicationRevoked").invoke(image);
        } catch (final NoSuchMethodException ex) {
            return false;
        } catch (final ReflectiveOperationException ex) {
            throw new IllegalStateException(ex);
        }
    }

    private String change(final String what, final long recordingId) {
        final String channel = "aeron:udp?endpoint=" + host + ":9";
        switch (what) {
            case "start" -> archive.startRecording(channel, 5, SourceLocation.REMOTE);
            case "stop" -> archive.stopRecording(channel, 5);
            case "extend" -> archive.extendRecording(recordingId, channel, 5, SourceLocation.REMOTE);
            case "truncate" -> archive.truncateRecording(recordingId, 0);
            case "purge" -> archive.purgeRecording(recordingId);
            case "purge-segments" -> archive.purgeSegments(recordingId, 0);
            case "detach-segments" -> archive.detachSegments(recordingId, 0);
            case "attach-segments" -> archive.attachSegments(recordingId);
            case "migrate-segments" -> archive.migrateSegments(recordingId, recordingId + 1);
            case "replicate" -> archive.replicate(recordingId, 10, "aeron:udp?endpoint=" + host + ":9",
                new ReplicationParams());
            case "stop-replication" -> archive.stopReplication(1);
            default -> throw new IllegalArgumentException("unknown change " + what);
        }
        return "done";
    }

    private String replicate(final long recordingId, final long until) {
        signals.setLength(0);
        ownRecordingId = Aeron.NULL_VALUE;
        final ReplicationParams params = new ReplicationParams();
        if (security != null) {
            params.encodedCredentials(security.credentialsSupplier().encodedCredentials());
        }
        final long id = ownArchive.replicate(recordingId, 10, "aeron:udp?endpoint=" + control, params);
        final long deadlineNs = System.nanoTime() + TIMEOUT_NS;
        while (!signals.toString().contains("REPLICATE_END")) {
            ownArchive.pollForRecordingSignals();
            if (until >= 0 && ownRecordingId >= 0 && ownArchive.getMaxRecordedPosition(ownRecordingId) >= until) {
                ownArchive.stopReplication(id);
                break;
            }
            await(deadlineNs, "the end of the replication," + signals, 0);
        }
        // The end may be told before the recording has stopped.
        while (ownArchive.getStopPosition(ownRecordingId) == AeronArchive.NULL_POSITION) {
            ownArchive.pollForRecordingSignals();
            await(deadlineNs, "the stop of recording " + ownRecordingId, 0);
        }
        return "recording=" + ownRecordingId + " position=" + ownArchive.getStopPosition(ownRecordingId) +
            " signals=" + signals.toString().trim().replace(' ', ',');
    }

    private void closeReplay() {
        if (replay != null) {
            replay.close();
            replay = null;
        }
    }

    private String resolved(final Subscription subscription) {
        final long deadlineNs = System.nanoTime() + TIMEOUT_NS;
        String channel;
        while ((channel = subscription.tryResolveChannelEndpointPort()) == null) {
            await(deadlineNs, "a port", 0);
        }
        return channel;
    }

    private void await(final long deadlineNs, final String what, final int work) {
        if (System.nanoTime() > deadlineNs) {
            throw new IllegalStateException("timed out waiting for " + what);
        }
        idle.idle(work);
    }
}
