package io.standby.interop;

import java.io.File;
import java.nio.ByteOrder;
import java.util.concurrent.TimeUnit;

import io.aeron.Aeron;
import io.aeron.FragmentAssembler;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.cluster.client.AeronCluster;
import io.aeron.cluster.codecs.BackupQueryEncoder;
import io.aeron.cluster.codecs.BackupResponseDecoder;
import io.aeron.cluster.codecs.ChallengeDecoder;
import io.aeron.cluster.codecs.ChallengeResponseEncoder;
import io.aeron.cluster.codecs.HeartbeatRequestEncoder;
import io.aeron.cluster.codecs.HeartbeatResponseDecoder;
import io.aeron.cluster.codecs.MessageHeaderDecoder;
import io.aeron.cluster.codecs.MessageHeaderEncoder;
import io.aeron.cluster.codecs.SessionEventDecoder;
import io.aeron.cluster.codecs.StandbySnapshotEncoder;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import org.agrona.DirectBuffer;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.IoUtil;

/**
 * Asks whoever listens at {@code --endpoint} on the consensus stream, in the words of the official codecs, and prints
 * the answer as one line. {@code --request} is backup, heartbeat or standby-snapshot; {@code --own-endpoint} is where
 * the answer goes; {@code --log-position} and {@code --version} are a backup query's own.
 *
 * <p>Prints {@code answer backup member=M leader=L term=T counter=C recording=R snapshots=SERVICE@POSITION,... members=TEXT},
 * {@code answer heartbeat}, {@code answer event code=CODE detail=TEXT}, or {@code answer none} after {@code --wait-ms}.
 * {@code answer ended} follows when the stream of the answer was closed in order.
 */
public final class Ask {
    private static final int STREAM_ID = 108;
    /** Before 1.51 a backup query has no log position, nor its encoder a method for one. */
    private static final int LOG_POSITION_OFFSET = MessageHeaderEncoder.ENCODED_LENGTH + 16;

    private final MessageHeaderDecoder headerDecoder = new MessageHeaderDecoder();
    private final MessageHeaderEncoder headerEncoder = new MessageHeaderEncoder();
    private final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
    private final Security security;
    private final String ownChannel;
    private final long correlationId = 4711;
    private final long deadlineNs;
    private Publication publication;
    private String answer;

    private Ask(final Security security, final String ownChannel, final long deadlineNs) {
        this.security = security;
        this.ownChannel = ownChannel;
        this.deadlineNs = deadlineNs;
    }

    public static void main(final String[] args) {
        final Flags flags = new Flags(args);
        final String endpoint = flags.text("endpoint");
        final String ownChannel = "aeron:udp?endpoint=" + flags.text("own-endpoint");
        final String request = flags.text("request", "backup");
        final int version = flags.integer("version", AeronCluster.Configuration.PROTOCOL_SEMANTIC_VERSION);
        final long logPosition = flags.size("log-position", Long.MAX_VALUE);
        final long waitNs = TimeUnit.MILLISECONDS.toNanos(flags.size("wait-ms", 10_000));
        final String aeronDir = flags.text("aeron-dir", "/dev/shm/standby-ask-" + ProcessHandle.current().pid());
        final Security security = Security.from(flags, "");
        flags.finish();

        final MediaDriver.Context driverContext = new MediaDriver.Context()
            .aeronDirectoryName(aeronDir)
            .dirDeleteOnStart(true)
            .threadingMode(ThreadingMode.SHARED)
            .termBufferSparseFile(true);
        final Ask ask = new Ask(security, ownChannel, System.nanoTime() + waitNs);
        try (MediaDriver driver = MediaDriver.launch(driverContext);
            Aeron aeron = Aeron.connect(new Aeron.Context().aeronDirectoryName(aeronDir));
            Subscription subscription = aeron.addSubscription(ownChannel, STREAM_ID);
            Publication publication = aeron.addPublication("aeron:udp?endpoint=" + endpoint, STREAM_ID)) {
            ask.publication = publication;
            ask.offer(ask.encode(request, version, logPosition));
            final FragmentAssembler assembler =
                new FragmentAssembler((message, offset, length, header) -> ask.onMessage(message, offset));
            boolean hadImage = false;
            while (ask.isInTime() && (ask.answer == null || !hadImage || !subscription.hasNoImages())) {
                hadImage |= subscription.imageCount() > 0;
                subscription.poll(assembler, 10);
                Thread.yield();
            }
            Out.line("answer " + (ask.answer == null ? "none" : ask.answer));
            if (hadImage && subscription.hasNoImages()) {
                Out.line("answer ended");
            }
        } finally {
            IoUtil.delete(new File(aeronDir), true);
        }
        Runtime.getRuntime().halt(0);
    }

    private int encode(final String request, final int version, final long logPosition) {
        final byte[] credentials =
            security == null ? new byte[0] : security.credentialsSupplier().encodedCredentials();
        final int length = switch (request) {
            case "backup" -> new BackupQueryEncoder()
                .wrapAndApplyHeader(buffer, 0, headerEncoder)
                .correlationId(correlationId)
                .responseStreamId(STREAM_ID)
                .version(version)
                .responseChannel(ownChannel)
                .putEncodedCredentials(credentials, 0, credentials.length)
                .encodedLength();
            case "heartbeat" -> new HeartbeatRequestEncoder()
                .wrapAndApplyHeader(buffer, 0, headerEncoder)
                .correlationId(correlationId)
                .responseStreamId(STREAM_ID)
                .responseChannel(ownChannel)
                .putEncodedCredentials(credentials, 0, credentials.length)
                .encodedLength();
            case "standby-snapshot" -> {
                final StandbySnapshotEncoder encoder = new StandbySnapshotEncoder()
                    .wrapAndApplyHeader(buffer, 0, headerEncoder)
                    .correlationId(correlationId)
                    .version(version)
                    .responseStreamId(STREAM_ID);
                encoder.snapshotsCount(0);
                yield encoder
                    .responseChannel(ownChannel)
                    .putEncodedCredentials(credentials, 0, credentials.length)
                    .encodedLength();
            }
            default -> throw new IllegalArgumentException("--request " + request);
        };
        if ("backup".equals(request) && BackupQueryEncoder.BLOCK_LENGTH >= 24) {
            buffer.putLong(LOG_POSITION_OFFSET, logPosition, ByteOrder.LITTLE_ENDIAN);
        }
        return MessageHeaderEncoder.ENCODED_LENGTH + length;
    }

    private void onMessage(final DirectBuffer message, final int offset) {
        headerDecoder.wrap(message, offset);
        switch (headerDecoder.templateId()) {
            case BackupResponseDecoder.TEMPLATE_ID -> onBackupResponse(
                new BackupResponseDecoder().wrapAndApplyHeader(message, offset, headerDecoder));
            case HeartbeatResponseDecoder.TEMPLATE_ID -> answer = "heartbeat";
            case SessionEventDecoder.TEMPLATE_ID -> {
                final SessionEventDecoder event =
                    new SessionEventDecoder().wrapAndApplyHeader(message, offset, headerDecoder);
                answer = "event code=" + event.code() + " detail=" + event.detail();
            }
            case ChallengeDecoder.TEMPLATE_ID -> onChallenge(
                new ChallengeDecoder().wrapAndApplyHeader(message, offset, headerDecoder));
            default -> answer = "template " + headerDecoder.templateId();
        }
    }

    private void onBackupResponse(final BackupResponseDecoder response) {
        final StringBuilder text = new StringBuilder("backup member=").append(response.memberId())
            .append(" leader=").append(response.leaderMemberId())
            .append(" term=").append(response.lastLeadershipTermId())
            .append(" counter=").append(response.commitPositionCounterId())
            .append(" recording=").append(response.logRecordingId())
            .append(" snapshots=");
        String separator = "";
        for (final BackupResponseDecoder.SnapshotsDecoder snapshot : response.snapshots()) {
            text.append(separator).append(snapshot.serviceId()).append('@').append(snapshot.logPosition());
            separator = ",";
        }
        answer = text.append(" members=").append(response.clusterMembers()).toString();
    }

    private void onChallenge(final ChallengeDecoder challenge) {
        final byte[] text =
            security == null ? new byte[0] : security.credentialsSupplier().onChallenge(new byte[0]);
        final ChallengeResponseEncoder encoder = new ChallengeResponseEncoder()
            .wrapAndApplyHeader(buffer, 0, headerEncoder)
            .correlationId(correlationId + 1)
            .clusterSessionId(challenge.clusterSessionId())
            .putEncodedCredentials(text, 0, text.length);
        offer(MessageHeaderEncoder.ENCODED_LENGTH + encoder.encodedLength());
    }

    private void offer(final int length) {
        while (publication.offer(buffer, 0, length) < 0 && isInTime()) {
            Thread.yield();
        }
    }

    private boolean isInTime() {
        return System.nanoTime() < deadlineNs;
    }
}
