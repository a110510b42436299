package io.standby.interop;

import java.nio.ByteOrder;

import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Image;
import io.aeron.Publication;
import io.aeron.logbuffer.FragmentHandler;
import io.aeron.logbuffer.Header;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * The reference service's snapshot: a fragment of hash, count and ballast length, the ballast in pieces of at
 * most 64 KiB, and a fragment with the ballast's hash.
 */
final class AuditSnapshot {
    private static final int HEADER_LENGTH = 24;
    private static final int PIECE_LENGTH_MAX = 64 * 1024;

    private AuditSnapshot() {
    }

    static void write(final AuditState state, final ExclusivePublication publication, final IdleStrategy idle) {
        final UnsafeBuffer scratch = new UnsafeBuffer(new byte[HEADER_LENGTH]);
        final UnsafeBuffer ballast = state.ballast();
        scratch.putLong(0, state.hash(), ByteOrder.LITTLE_ENDIAN);
        scratch.putLong(8, state.count(), ByteOrder.LITTLE_ENDIAN);
        scratch.putLong(16, ballast.capacity(), ByteOrder.LITTLE_ENDIAN);
        offer(publication, scratch, 0, HEADER_LENGTH, idle);

        final int pieceLength = Math.min(PIECE_LENGTH_MAX, publication.maxMessageLength() & ~7);
        for (int at = 0; at < ballast.capacity(); at += pieceLength) {
            offer(publication, ballast, at, Math.min(pieceLength, ballast.capacity() - at), idle);
        }

        scratch.putLong(0, state.ballastHash(), ByteOrder.LITTLE_ENDIAN);
        offer(publication, scratch, 0, Long.BYTES, idle);
    }

    /** Loads until the last fragment; a short or damaged snapshot is an {@link IllegalStateException}. */
    static void load(final AuditState state, final Image image, final IdleStrategy idle) {
        final Loader loader = new Loader(state);
        final FragmentAssembler assembler = new FragmentAssembler(loader);
        while (!loader.isDone) {
            final int fragments = image.poll(assembler, 10);
            if (fragments == 0 && (image.isClosed() || image.isEndOfStream()) && !loader.isDone) {
                throw new IllegalStateException("audit snapshot ends too early, ballast read=" + loader.ballastRead);
            }
            idle.idle(fragments);
        }
    }

    private static void offer(
        final ExclusivePublication publication,
        final DirectBuffer buffer,
        final int offset,
        final int length,
        final IdleStrategy idle) {
        while (true) {
            final long result = publication.offer(buffer, offset, length);
            if (result > 0) {
                return;
            }
            if (result == Publication.CLOSED || result == Publication.MAX_POSITION_EXCEEDED) {
                throw new IllegalStateException("snapshot publication failed: " + result);
            }
            idle.idle();
        }
    }

    private static final class Loader implements FragmentHandler {
        private final AuditState state;
        private boolean hasHeader;
        private boolean isDone;
        private int ballastRead;

        Loader(final AuditState state) {
            this.state = state;
        }

        public void onFragment(
            final DirectBuffer buffer, final int offset, final int length, final Header header) {
            if (isDone) {
                throw new IllegalStateException("audit snapshot goes on after its end");
            }
            if (!hasHeader) {
                require(length == HEADER_LENGTH, "header", length);
                state.load(
                    buffer.getLong(offset, ByteOrder.LITTLE_ENDIAN),
                    buffer.getLong(offset + 8, ByteOrder.LITTLE_ENDIAN),
                    Math.toIntExact(buffer.getLong(offset + 16, ByteOrder.LITTLE_ENDIAN)));
                hasHeader = true;
            } else if (ballastRead < state.ballast().capacity()) {
                require(length <= state.ballast().capacity() - ballastRead, "ballast", length);
                state.ballast().putBytes(ballastRead, buffer, offset, length);
                ballastRead += length;
            } else {
                require(length == Long.BYTES, "ballast hash", length);
                final long expected = buffer.getLong(offset, ByteOrder.LITTLE_ENDIAN);
                if (expected != state.ballastHash()) {
                    throw new IllegalStateException("audit snapshot: the ballast's hash differs");
                }
                isDone = true;
            }
        }

        private static void require(final boolean condition, final String what, final int length) {
            if (!condition) {
                throw new IllegalStateException("audit snapshot: bad length of " + what + ": " + length);
            }
        }
    }
}
