package io.standby.interop;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Command line flags of the form {@code --name value} or {@code --name} alone, which means true.
 * A flag that nobody asked for is an error, so that a misspelt one does not pass silently.
 */
final class Flags {
    private final Map<String, String> values = new LinkedHashMap<>();
    private final Set<String> asked = new HashSet<>();

    Flags(final String[] args) {
        for (int i = 0; i < args.length; i++) {
            if (!args[i].startsWith("--")) {
                throw new IllegalArgumentException("expected a flag, found: " + args[i]);
            }
            final boolean hasValue = i + 1 < args.length && !args[i + 1].startsWith("--");
            values.put(args[i].substring(2), hasValue ? args[++i] : "true");
        }
    }

    /** The flag's text, or the fallback (which may be null). */
    String text(final String name, final String fallback) {
        asked.add(name);
        return values.getOrDefault(name, fallback);
    }

    /** The flag's text; its absence is an error. */
    String text(final String name) {
        final String value = text(name, null);
        if (value == null) {
            throw new IllegalArgumentException("missing flag --" + name);
        }
        return value;
    }

    boolean isSet(final String name) {
        return Boolean.parseBoolean(text(name, "false"));
    }

    int integer(final String name, final int fallback) {
        return Math.toIntExact(size(name, fallback));
    }

    /** A whole number with an optional binary suffix k, m or g. */
    long size(final String name, final long fallback) {
        final String value = text(name, null);
        if (value == null) {
            return fallback;
        }
        final int last = value.length() - 1;
        final int shift = switch (Character.toLowerCase(value.charAt(last))) {
            case 'k' -> 10;
            case 'm' -> 20;
            case 'g' -> 30;
            default -> 0;
        };
        return Long.parseLong(shift == 0 ? value : value.substring(0, last)) << shift;
    }

    double decimal(final String name, final double fallback) {
        final String value = text(name, null);
        return value == null ? fallback : Double.parseDouble(value);
    }

    /** Fails when a flag was given that nobody asked for. */
    void finish() {
        for (final String name : values.keySet()) {
            if (!asked.contains(name)) {
                throw new IllegalArgumentException("unknown flag --" + name);
            }
        }
    }
}
