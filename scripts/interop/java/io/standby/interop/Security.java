package io.standby.interop;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

import io.aeron.security.Authenticator;
import io.aeron.security.AuthenticatorSupplier;
import io.aeron.security.CredentialsSupplier;
import io.aeron.security.SessionProxy;

/**
 * Who may connect: nobody without {@code --credentials TEXT}, and with {@code --challenge TEXT} as well a first
 * try is answered by the challenge {@link #CHALLENGE}, to which TEXT is the right response. The same value is the
 * credentials that our own programs present.
 */
final class Security {
    static final String CHALLENGE = "challenge!";
    static final String PRINCIPAL = "interop";

    private final byte[] credentials;
    private final byte[] challengeResponse;

    private Security(final byte[] credentials, final byte[] challengeResponse) {
        this.credentials = credentials;
        this.challengeResponse = challengeResponse;
    }

    /** Reads the flags with the given prefix; null when they are not given, which lets everybody in. */
    static Security from(final Flags flags, final String prefix) {
        final byte[] credentials = bytes(flags.text(prefix + "credentials", null));
        final byte[] response = bytes(flags.text(prefix + "challenge", null));
        return credentials == null && response == null ? null : new Security(credentials, response);
    }

    AuthenticatorSupplier authenticator() {
        return () -> new Gate(this);
    }

    CredentialsSupplier credentialsSupplier() {
        return new CredentialsSupplier() {
            @Override
            public byte[] encodedCredentials() {
                return credentials == null ? new byte[0] : credentials;
            }

            @Override
            public byte[] onChallenge(final byte[] encodedChallenge) {
                return challengeResponse == null ? new byte[0] : challengeResponse;
            }
        };
    }

    private static byte[] bytes(final String text) {
        return text == null ? null : text.getBytes(StandardCharsets.US_ASCII);
    }

    private enum Verdict { CHALLENGE, ACCEPT, REJECT }

    private static final class Gate implements Authenticator {
        private final Security security;
        private final Map<Long, Verdict> verdicts = new HashMap<>();

        Gate(final Security security) {
            this.security = security;
        }

        @Override
        public void onConnectRequest(final long sessionId, final byte[] encodedCredentials, final long nowMs) {
            final boolean matches =
                security.credentials == null || Arrays.equals(security.credentials, encodedCredentials);
            final Verdict accepted = security.challengeResponse == null ? Verdict.ACCEPT : Verdict.CHALLENGE;
            verdicts.put(sessionId, matches ? accepted : Verdict.REJECT);
        }

        @Override
        public void onChallengeResponse(final long sessionId, final byte[] encodedCredentials, final long nowMs) {
            final boolean matches = Arrays.equals(security.challengeResponse, encodedCredentials);
            verdicts.put(sessionId, matches ? Verdict.ACCEPT : Verdict.REJECT);
        }

        @Override
        public void onConnectedSession(final SessionProxy sessionProxy, final long nowMs) {
            final Verdict verdict = verdicts.get(sessionProxy.sessionId());
            if (verdict == Verdict.CHALLENGE) {
                sessionProxy.challenge(CHALLENGE.getBytes(StandardCharsets.US_ASCII));
            } else {
                decide(sessionProxy, verdict);
            }
        }

        @Override
        public void onChallengedSession(final SessionProxy sessionProxy, final long nowMs) {
            final Verdict verdict = verdicts.get(sessionProxy.sessionId());
            if (verdict != Verdict.CHALLENGE) {
                decide(sessionProxy, verdict);
            }
        }

        private void decide(final SessionProxy sessionProxy, final Verdict verdict) {
            if (verdict == Verdict.ACCEPT) {
                if (sessionProxy.authenticate(PRINCIPAL.getBytes(StandardCharsets.US_ASCII))) {
                    verdicts.remove(sessionProxy.sessionId());
                }
            } else {
                sessionProxy.reject();
                verdicts.remove(sessionProxy.sessionId());
            }
        }
    }
}
