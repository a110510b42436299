package io.standby.interop;

import java.util.concurrent.TimeUnit;

import io.aeron.Aeron;
import io.aeron.archive.client.AeronArchive;
import org.agrona.collections.MutableLong;

/**
 * Deletes the oldest segments of a member's log, as operators do once a snapshot has made them superfluous.
 *
 * <p>{@code --aeron-dir D} is the member's driver, {@code --archive HOST:PORT} its archive, and {@code --below P} a
 * position: whole segments below it go. Prints {@code purge recording=R segments=N start=P}.
 */
public final class PurgeLog {
    private static final int LOG_STREAM_ID = 100;
    private static final int RECORDINGS_MAX = 1000;

    private PurgeLog() {
    }

    public static void main(final String[] args) {
        final Flags flags = new Flags(args);
        final String aeronDir = flags.text("aeron-dir");
        final String archiveEndpoint = flags.text("archive");
        final long below = flags.size("below", 0);
        flags.finish();
        try (Aeron aeron = Aeron.connect(new Aeron.Context().aeronDirectoryName(aeronDir));
            AeronArchive archive = AeronArchive.connect(new AeronArchive.Context()
                .aeron(aeron)
                .ownsAeronClient(false)
                .messageTimeoutNs(TimeUnit.SECONDS.toNanos(20))
                .controlRequestChannel("aeron:udp?endpoint=" + archiveEndpoint)
                .controlResponseChannel("aeron:udp?endpoint=localhost:0"))) {
            purge(archive, below);
        }
    }

    private static void purge(final AeronArchive archive, final long below) {
        final MutableLong recording = new MutableLong(-1);
        final MutableLong start = new MutableLong();
        archive.listRecordings(0, RECORDINGS_MAX, (
            controlSessionId, correlationId, recordingId, startTimestamp, stopTimestamp, startPosition, stopPosition,
            initialTermId, segmentFileLength, termBufferLength, mtuLength, sessionId, streamId, strippedChannel,
            originalChannel, sourceIdentity) -> {
            if (streamId == LOG_STREAM_ID) {
                recording.set(recordingId);
                start.set(AeronArchive.segmentFileBasePosition(
                    startPosition, below, termBufferLength, segmentFileLength));
            }
        });
        if (recording.get() < 0) {
            throw new IllegalStateException("no recording of stream " + LOG_STREAM_ID);
        }
        final long count = archive.purgeSegments(recording.get(), start.get());
        Out.line("purge recording=" + recording.get() + " segments=" + count + " start=" + start.get());
    }
}
