package io.standby.interop;

import java.nio.ByteOrder;

import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/** The state of the reference service: what its inputs do to it, apart from who delivers them. */
final class AuditState {
    static final long FNV_OFFSET_BASIS = 0xcbf29ce484222325L;
    static final long FNV_PRIME = 0x100000001b3L;

    private final UnsafeBuffer scratch = new UnsafeBuffer(new byte[Long.BYTES]);
    private UnsafeBuffer ballast;
    private long hash = FNV_OFFSET_BASIS;
    private long count;

    AuditState(final int ballastLength) {
        resizeBallast(ballastLength);
    }

    long hash() {
        return hash;
    }

    long count() {
        return count;
    }

    UnsafeBuffer ballast() {
        return ballast;
    }

    void onSessionOpen(final long clusterSessionId) {
        mix(clusterSessionId);
    }

    void onSessionClose(final long clusterSessionId) {
        mix(clusterSessionId + 7);
    }

    void onMessage(final DirectBuffer buffer, final int offset, final int length) {
        mix(buffer, offset, length);
        count++;
        if (ballast.capacity() > 0) {
            final int at = (int)Long.remainderUnsigned(8 * count, ballast.capacity());
            ballast.putLong(at, hash, ByteOrder.LITTLE_ENDIAN);
        }
    }

    /** Counts a message that nobody looks at. */
    void onCountedMessage() {
        count++;
    }

    void onTimer(final long correlationId) {
        mix(correlationId);
        count++;
    }

    /** Takes over a loaded snapshot's header; the ballast is then written into {@link #ballast()}. */
    void load(final long hash, final long count, final int ballastLength) {
        this.hash = hash;
        this.count = count;
        resizeBallast(ballastLength);
    }

    long ballastHash() {
        long h = FNV_OFFSET_BASIS;
        for (int i = 0; i < ballast.capacity(); i += Long.BYTES) {
            h = (h ^ ballast.getLong(i, ByteOrder.LITTLE_ENDIAN)) * FNV_PRIME;
        }
        return h;
    }

    private void mix(final long value) {
        scratch.putLong(0, value, ByteOrder.LITTLE_ENDIAN);
        mix(scratch, 0, Long.BYTES);
    }

    private void mix(final DirectBuffer buffer, final int offset, final int length) {
        long h = hash;
        for (int i = 0; i < length; i++) {
            h = (h ^ (buffer.getByte(offset + i) & 0xFF)) * FNV_PRIME;
        }
        hash = h;
    }

    private void resizeBallast(final int length) {
        if (length < 0 || length % Long.BYTES != 0) {
            throw new IllegalArgumentException("ballast must be a multiple of 8 bytes: " + length);
        }
        if (ballast == null || ballast.capacity() != length) {
            ballast = new UnsafeBuffer(new byte[length]);
        }
    }
}
