package io.standby.interop;

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
import io.aeron.cluster.codecs.MessageHeaderDecoder;
import io.aeron.cluster.codecs.MessageHeaderEncoder;
import io.aeron.exceptions.TimeoutException;
import org.agrona.DirectBuffer;
import org.agrona.ExpandableArrayBuffer;

/** Asks one member for its log recording and the counter that bounds a replay of it. */
final class BackupQuery {
    /** What a follower of the log needs to know of the member. */
    record Answer(long recordingId, int commitPositionCounterId, int memberId, String archiveEndpoint) {
    }

    private static final int STREAM_ID = 108;
    private static final long TIMEOUT_NS = TimeUnit.SECONDS.toNanos(15);
    private static final int ARCHIVE_ENDPOINT_FIELD = 5;

    private final MessageHeaderDecoder headerDecoder = new MessageHeaderDecoder();
    private final MessageHeaderEncoder headerEncoder = new MessageHeaderEncoder();
    private final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
    private final Publication publication;
    private final Security security;
    private Answer answer;

    private BackupQuery(final Publication publication, final Security security) {
        this.publication = publication;
        this.security = security;
    }

    static Answer ask(
        final Aeron aeron, final String memberEndpoint, final String ownEndpoint, final Security security) {
        final String ownChannel = "aeron:udp?endpoint=" + ownEndpoint;
        try (Subscription subscription = aeron.addSubscription(ownChannel, STREAM_ID);
            Publication publication = aeron.addPublication("aeron:udp?endpoint=" + memberEndpoint, STREAM_ID)) {
            final BackupQuery query = new BackupQuery(publication, security);
            final FragmentAssembler assembler = new FragmentAssembler(
                (message, offset, length, header) -> query.onMessage(message, offset));
            final long deadlineNs = System.nanoTime() + TIMEOUT_NS;
            query.send(ownChannel, aeron.nextCorrelationId(), deadlineNs);
            while (query.answer == null) {
                subscription.poll(assembler, 10);
                pause(deadlineNs);
            }
            return query.answer;
        }
    }

    private void send(final String ownChannel, final long correlationId, final long deadlineNs) {
        final byte[] credentials =
            security == null ? new byte[0] : security.credentialsSupplier().encodedCredentials();
        final BackupQueryEncoder encoder = new BackupQueryEncoder()
            .wrapAndApplyHeader(buffer, 0, headerEncoder)
            .correlationId(correlationId)
            .responseStreamId(STREAM_ID)
            .version(AeronCluster.Configuration.PROTOCOL_SEMANTIC_VERSION)
            .responseChannel(ownChannel)
            .putEncodedCredentials(credentials, 0, credentials.length);
        offer(MessageHeaderEncoder.ENCODED_LENGTH + encoder.encodedLength(), deadlineNs);
    }

    private void onMessage(final DirectBuffer message, final int offset) {
        headerDecoder.wrap(message, offset);
        if (headerDecoder.templateId() == BackupResponseDecoder.TEMPLATE_ID) {
            final BackupResponseDecoder response =
                new BackupResponseDecoder().wrapAndApplyHeader(message, offset, headerDecoder);
            final long recordingId = response.logRecordingId();
            final int counterId = response.commitPositionCounterId();
            final int memberId = response.memberId();
            response.snapshots().forEach((snapshot) -> { });
            answer = new Answer(recordingId, counterId, memberId, archiveOf(memberId, response.clusterMembers()));
        } else if (headerDecoder.templateId() == ChallengeDecoder.TEMPLATE_ID && security != null) {
            final ChallengeDecoder challenge =
                new ChallengeDecoder().wrapAndApplyHeader(message, offset, headerDecoder);
            final byte[] text = security.credentialsSupplier().onChallenge(new byte[0]);
            final ChallengeResponseEncoder encoder = new ChallengeResponseEncoder()
                .wrapAndApplyHeader(buffer, 0, headerEncoder)
                .correlationId(challenge.correlationId())
                .clusterSessionId(challenge.clusterSessionId())
                .putEncodedCredentials(text, 0, text.length);
            offer(MessageHeaderEncoder.ENCODED_LENGTH + encoder.encodedLength(), System.nanoTime() + TIMEOUT_NS);
        }
    }

    private void offer(final int length, final long deadlineNs) {
        while (publication.offer(buffer, 0, length) < 0) {
            pause(deadlineNs);
        }
    }

    private static String archiveOf(final int memberId, final String clusterMembers) {
        for (final String member : clusterMembers.split("\\|")) {
            final String[] fields = member.split(",");
            if (Integer.parseInt(fields[0]) == memberId) {
                return fields[ARCHIVE_ENDPOINT_FIELD];
            }
        }
        throw new IllegalStateException("member " + memberId + " is not in " + clusterMembers);
    }

    private static void pause(final long deadlineNs) {
        if (System.nanoTime() > deadlineNs) {
            throw new TimeoutException("no answer to the BackupQuery");
        }
        Thread.yield();
    }
}
