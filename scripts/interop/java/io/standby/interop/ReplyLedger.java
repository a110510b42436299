package io.standby.interop;

import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;

import org.agrona.DirectBuffer;

/**
 * What was sent and not yet replied to. Replies must come in the order of sending, and with rising counts. A
 * leader's death may swallow replies: {@link #onLeaderLost} then takes what is open out of the order, so that a
 * late reply still counts but nothing waits for it.
 */
final class ReplyLedger {
    /** One message: when it should have left, and its bytes if it may have to be sent again. */
    record Sent(long stampNs, byte[] bytes, boolean isRecorded) {
    }

    final LagHistogram roundTrip = new LagHistogram();
    long sent;
    long replied;
    long outOfOrder;
    long countErrors;
    /** How far counts went back when another member began to lead: messages that were replied to and are gone. */
    long lost;
    /** Replies beyond the first to a message: services other than the quickest, or a fault. */
    long extra;
    /** Longest time without a reply while one was due. */
    long gapMaxNs;

    private final ArrayDeque<Sent> open = new ArrayDeque<>();
    private final Map<Long, Sent> orphans = new HashMap<>();
    private long lastCount = -1;
    private boolean isNewLeader;
    private long lastProgressNs;
    private long lastStampNs;

    int openCount() {
        return open.size();
    }

    /** How long no reply has come though one is due, at most since {@code sinceNs}; 0 when none is due. */
    long silenceNs(final long sinceNs, final long nowNs) {
        return open.isEmpty() ? 0 : nowNs - Math.max(lastProgressNs, sinceNs);
    }

    int orphanCount() {
        return orphans.size();
    }

    void onSent(final Sent message, final long nowNs) {
        if (open.isEmpty()) {
            lastProgressNs = Math.min(nowNs, message.stampNs());
        }
        open.addLast(message);
        sent++;
    }

    /** Takes a reply: the stamp of the message, and the hash and count after it. */
    void onReply(final DirectBuffer buffer, final int offset, final long nowNs) {
        final long stampNs = buffer.getLong(offset + 8, ByteOrder.LITTLE_ENDIAN);
        final long count = buffer.getLong(offset + 24, ByteOrder.LITTLE_ENDIAN);
        final Sent head = open.peekFirst();
        if (head != null && head.stampNs() == stampNs) {
            open.removeFirst();
            if (count <= lastCount) {
                if (isNewLeader) {
                    lost += lastCount - (count - 1);
                } else {
                    countErrors++;
                }
            }
            isNewLeader = false;
            lastCount = count;
            complete(head, nowNs);
            return;
        }
        final Sent late = orphans.remove(stampNs);
        if (late != null) {
            complete(late, nowNs);
            return;
        }
        if (stampNs <= lastStampNs) {
            // Every service replies; the first reply stands for all.
            extra++;
            return;
        }
        outOfOrder++;
        if (open.removeIf((message) -> message.stampNs() == stampNs)) {
            replied++;
        }
    }

    /** Nothing open may be replied to any more; returns it in the order of sending. */
    ArrayDeque<Sent> onLeaderLost() {
        final ArrayDeque<Sent> orphaned = new ArrayDeque<>(open);
        for (final Sent message : open) {
            orphans.put(message.stampNs(), message);
        }
        open.clear();
        isNewLeader = true;
        return orphaned;
    }

    /** Forgets how long replies took so far. */
    void resetTimes() {
        roundTrip.reset();
        gapMaxNs = 0;
    }

    /** The message goes out again and takes its place at the end of the order. */
    void onResent(final Sent message) {
        orphans.remove(message.stampNs());
        open.addLast(message);
    }

    private void complete(final Sent message, final long nowNs) {
        replied++;
        lastStampNs = Math.max(lastStampNs, message.stampNs());
        gapMaxNs = Math.max(gapMaxNs, nowNs - lastProgressNs);
        lastProgressNs = nowNs;
        if (message.isRecorded()) {
            roundTrip.record(nowNs - message.stampNs());
        }
    }
}
