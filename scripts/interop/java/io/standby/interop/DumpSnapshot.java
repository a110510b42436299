package io.standby.interop;

import java.io.File;
import java.io.IOException;

import io.aeron.cluster.RecordingLog;
import io.aeron.cluster.codecs.ClientSessionDecoder;
import io.aeron.cluster.codecs.ClusterSessionDecoder;
import io.aeron.cluster.codecs.ConsensusModuleDecoder;
import io.aeron.cluster.codecs.MessageHeaderDecoder;
import io.aeron.cluster.codecs.PendingMessageTrackerDecoder;
import io.aeron.cluster.codecs.SessionMessageHeaderDecoder;
import io.aeron.cluster.codecs.SnapshotMark;
import io.aeron.cluster.codecs.SnapshotMarkerDecoder;
import io.aeron.cluster.codecs.TimerDecoder;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Prints the newest snapshot set (or the one at {@code --position}) of a node's directory, running or not, with
 * Aeron's own decoders. Lines begin with {@code cm} for the consensus module and {@code service=N} for a service;
 * after each decoded line comes {@code raw <hex>} with the message's bytes.
 */
public final class DumpSnapshot {
    private static final int CONSENSUS_MODULE_ID = -1;

    private final MessageHeaderDecoder header = new MessageHeaderDecoder();
    private final String prefix;
    private boolean isPastEnd;

    private DumpSnapshot(final int serviceId) {
        prefix = serviceId == CONSENSUS_MODULE_ID ? "cm " : "service=" + serviceId + " ";
    }

    public static void main(final String[] args) throws IOException {
        final Flags flags = new Flags(args);
        final File dir = new File(flags.text("dir"));
        final File archiveDir = new File(dir, "archive");
        long position = flags.size("position", -1);
        flags.finish();

        try (RecordingLog log = new RecordingLog(new File(dir, "cluster"), false)) {
            if (position < 0) {
                final RecordingLog.Entry latest = log.getLatestSnapshot(CONSENSUS_MODULE_ID);
                if (latest == null) {
                    Out.error("no snapshot in " + dir);
                    System.exit(1);
                }
                position = latest.logPosition;
            }
            for (final RecordingLog.Entry entry : log.entries()) {
                if (entry.isValid && entry.type == RecordingLog.ENTRY_TYPE_SNAPSHOT && entry.logPosition == position) {
                    final DumpSnapshot dump = new DumpSnapshot(entry.serviceId);
                    Out.line(dump.prefix + "snapshot recordingId=" + entry.recordingId +
                        " leadershipTermId=" + entry.leadershipTermId + " termBase=" + entry.termBaseLogPosition +
                        " logPosition=" + entry.logPosition + " timestamp=" + entry.timestamp);
                    RecordingReader.read(archiveDir, entry.recordingId, dump::onMessage);
                }
            }
        }
    }

    private void onMessage(final UnsafeBuffer buffer, final int length) {
        Out.line(prefix + (isPastEnd ? "data length=" + length : describe(buffer, length)));
        final StringBuilder hex = new StringBuilder(2 * length);
        for (int i = 0; i < length; i++) {
            hex.append(String.format("%02x", buffer.getByte(i)));
        }
        Out.line("raw " + hex);
    }

    private String describe(final UnsafeBuffer buffer, final int length) {
        header.wrap(buffer, 0);
        return switch (header.templateId()) {
            case SnapshotMarkerDecoder.TEMPLATE_ID -> marker(buffer);
            case ConsensusModuleDecoder.TEMPLATE_ID -> consensusModule(buffer);
            case ClusterSessionDecoder.TEMPLATE_ID -> clusterSession(buffer);
            case TimerDecoder.TEMPLATE_ID -> timer(buffer);
            case PendingMessageTrackerDecoder.TEMPLATE_ID -> tracker(buffer);
            case SessionMessageHeaderDecoder.TEMPLATE_ID -> pending(buffer, length);
            case ClientSessionDecoder.TEMPLATE_ID -> clientSession(buffer);
            default -> "unknown templateId=" + header.templateId() + " length=" + length;
        };
    }

    private String marker(final UnsafeBuffer buffer) {
        final SnapshotMarkerDecoder marker = new SnapshotMarkerDecoder().wrapAndApplyHeader(buffer, 0, header);
        isPastEnd = marker.mark() == SnapshotMark.END;
        return "marker mark=" + marker.mark() + " typeId=" + marker.typeId() + " logPosition=" + marker.logPosition() +
            " leadershipTermId=" + marker.leadershipTermId() + " index=" + marker.index() +
            " timeUnit=" + marker.timeUnit() + " appVersion=" + marker.appVersion();
    }

    private String consensusModule(final UnsafeBuffer buffer) {
        final ConsensusModuleDecoder module = new ConsensusModuleDecoder().wrapAndApplyHeader(buffer, 0, header);
        return "nextSessionId=" + module.nextSessionId() + " nextServiceSessionId=" + module.nextServiceSessionId() +
            " logServiceSessionId=" + module.logServiceSessionId() +
            " pendingMessageCapacity=" + module.pendingMessageCapacity();
    }

    private String clusterSession(final UnsafeBuffer buffer) {
        final ClusterSessionDecoder session = new ClusterSessionDecoder().wrapAndApplyHeader(buffer, 0, header);
        return "session id=" + session.clusterSessionId() + " correlationId=" + session.correlationId() +
            " openedLogPosition=" + session.openedLogPosition() +
            " timeOfLastActivity=" + session.timeOfLastActivity() + " closeReason=" + session.closeReason() +
            " responseStreamId=" + session.responseStreamId() + " responseChannel=" + session.responseChannel();
    }

    private String timer(final UnsafeBuffer buffer) {
        final TimerDecoder timer = new TimerDecoder().wrapAndApplyHeader(buffer, 0, header);
        return "timer correlationId=" + timer.correlationId() + " deadline=" + timer.deadline();
    }

    private String tracker(final UnsafeBuffer buffer) {
        final PendingMessageTrackerDecoder tracker =
            new PendingMessageTrackerDecoder().wrapAndApplyHeader(buffer, 0, header);
        return "tracker serviceId=" + tracker.serviceId() +
            " nextServiceSessionId=" + tracker.nextServiceSessionId() +
            " logServiceSessionId=" + tracker.logServiceSessionId() +
            " pendingMessageCapacity=" + tracker.pendingMessageCapacity();
    }

    private String pending(final UnsafeBuffer buffer, final int length) {
        final SessionMessageHeaderDecoder message =
            new SessionMessageHeaderDecoder().wrapAndApplyHeader(buffer, 0, header);
        return "pending clusterSessionId=" + message.clusterSessionId() + " timestamp=" + message.timestamp() +
            " leadershipTermId=" + message.leadershipTermId() + " length=" + length;
    }

    private String clientSession(final UnsafeBuffer buffer) {
        final ClientSessionDecoder session = new ClientSessionDecoder().wrapAndApplyHeader(buffer, 0, header);
        return "session id=" + session.clusterSessionId() + " responseStreamId=" + session.responseStreamId() +
            " responseChannel=" + session.responseChannel() + " principalLength=" + session.encodedPrincipalLength();
    }
}
