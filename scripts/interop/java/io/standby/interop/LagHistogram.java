package io.standby.interop;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Locale;

import io.aeron.shadow.org.HdrHistogram.Histogram;

/**
 * Delays in nanoseconds up to an hour, three digits; prints as {@code key=value} pairs in microseconds. One thread
 * records, and another may ask.
 */
final class LagHistogram {
    private static final long HIGHEST_NS = 3_600_000_000_000L;

    private final Histogram histogram = new Histogram(HIGHEST_NS, 3);

    synchronized void record(final long delayNs) {
        histogram.recordValue(Math.max(0, Math.min(delayNs, HIGHEST_NS)));
    }

    synchronized void reset() {
        histogram.reset();
    }

    /** Writes the histogram as HdrHistogram encodes one, compressed. */
    synchronized void write(final Path path) {
        final ByteBuffer buffer = ByteBuffer.allocate(histogram.getNeededByteBufferCapacity());
        histogram.encodeIntoCompressedByteBuffer(buffer);
        buffer.flip();
        try (FileChannel file = FileChannel.open(
            path, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)) {
            while (buffer.hasRemaining()) {
                file.write(buffer);
            }
        } catch (final IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public synchronized String toString() {
        return "count=" + histogram.getTotalCount() +
            " p50_us=" + us(50) + " p90_us=" + us(90) + " p99_us=" + us(99) + " p99.9_us=" + us(99.9) +
            " max_us=" + String.format(Locale.ROOT, "%.1f", histogram.getMaxValue() / 1e3);
    }

    private String us(final double percentile) {
        return String.format(Locale.ROOT, "%.1f", histogram.getValueAtPercentile(percentile) / 1e3);
    }
}
