import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/** A link over a WebSocket (section 8), in either encoding. It decodes, and does not order. */
final class WebSocketLink implements WebSocket.Listener {
    /** Callbacks of a link, from threads of its own. */
    interface Owner {
        void opened(WebSocketLink link);

        void received(WebSocketLink link, Message message);

        /** A message or a ping has arrived. */
        void heard(WebSocketLink link);

        /** A message that has arrived is malformed. */
        void undecodable(WebSocketLink link, Malformed fault);

        /** The link has ended, with the gateway's close code or with 1006. */
        void ended(WebSocketLink link, int code, String why);
    }

    private static final Duration OPEN_TIMEOUT = Duration.ofSeconds(5);
    /** The code with which a client leaves a link but not its connection (section 5.7). */
    static final int LEAVE_LINK = 4002;
    /** Section 6.6 requires 1002, which applications of this library cannot send. */
    static final int PROTOCOL_ERROR = 4006;
    private static final int NO_CLOSE = 1006;

    private final Registry registry;
    private final boolean json;
    private final Owner owner;
    private final CompletableFuture<WebSocket> open;
    private final ByteArrayOutputStream binary = new ByteArrayOutputStream();
    private final StringBuilder text = new StringBuilder();
    private CompletableFuture<WebSocket> sent;
    private volatile boolean deaf;
    private volatile boolean mute;
    private volatile boolean closed;

    /** {@code encoding} is {@code json} or {@code postcard}. */
    WebSocketLink(Registry registry, HttpClient http, URI uri, String encoding, Owner owner) {
        this.registry = registry;
        this.owner = owner;
        json = encoding.equals("json");
        String subprotocol = (String) registry.subprotocols.get(encoding);
        open = http.newWebSocketBuilder().subprotocols(subprotocol).connectTimeout(OPEN_TIMEOUT)
                .buildAsync(uri, this);
        sent = open;
        open.whenComplete((socket, failure) -> {
            if (failure != null) {
                end(NO_CLOSE, failure.toString());
            } else if (!socket.getSubprotocol().equals(subprotocol)) {
                abort();
                end(NO_CLOSE, "another subprotocol: " + socket.getSubprotocol());
            } else {
                owner.opened(this);
            }
        });
    }

    // Messages are sent one after the other, as the library takes one at a time.

    synchronized void send(Message message) {
        if (mute) {
            return;
        }
        if (json) {
            String text = new JsonMessages(registry).encode(message);
            sent = sent.thenCompose(socket -> socket.sendText(text, true));
        } else {
            byte[] bytes = new Postcard(registry).encode("client", message);
            sent = sent.thenCompose(socket -> socket.sendBinary(ByteBuffer.wrap(bytes), true));
        }
    }

    synchronized void close(int code) {
        sent = sent.thenCompose(socket -> socket.sendClose(code, ""));
    }

    /** Ends TCP without a Close, as a failed network does. */
    void abort() {
        closed = true;
        open.thenAccept(WebSocket::abort);
    }

    /** Loses all messages sent from now on, as on a failed network. */
    void mute() {
        mute = true;
    }

    /** Ignores all messages that arrive from now on, as on a failed network. */
    void deafen() {
        deaf = true;
    }

    @Override
    public void onOpen(WebSocket socket) {
        socket.request(1);
    }

    @Override
    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
        if (!json) {
            owner.undecodable(this, new Malformed("text on postcard"));
            return null;
        }
        text.append(part);
        if (text.length() > registry.limit("gateway message, JSON")) {
            owner.undecodable(this, new Malformed("a message that is too long"));
            return null;
        }
        if (last) {
            String message = text.toString();
            text.setLength(0);
            int bytes = message.getBytes(StandardCharsets.UTF_8).length;
            arrived(bytes > registry.limit("gateway message, JSON") ? null
                    : () -> new JsonMessages(registry).decode("gateway", message));
        }
        socket.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean last) {
        if (json) {
            owner.undecodable(this, new Malformed("bytes on json"));
            return null;
        }
        byte[] bytes = new byte[part.remaining()];
        part.get(bytes);
        binary.writeBytes(bytes);
        int limit = registry.limit("gateway message, postcard");
        if (last || binary.size() > limit) {
            byte[] message = binary.toByteArray();
            binary.reset();
            arrived(message.length > limit ? null
                    : () -> new Postcard(registry).decode("gateway", message));
        }
        socket.request(1);
        return null;
    }

    private interface Decode {
        Message decode();
    }

    private void arrived(Decode decode) {
        if (deaf) {
            return;
        }
        owner.heard(this);
        try {
            if (decode == null) {
                throw new Malformed("a message that is too long");
            }
            owner.received(this, decode.decode());
        } catch (Malformed fault) {
            owner.undecodable(this, fault);
        }
    }

    @Override
    public CompletionStage<?> onPing(WebSocket socket, ByteBuffer payload) {
        if (!deaf) {
            owner.heard(this); // the library answers with a pong
        }
        socket.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        end(code, reason);
        return null; // the library answers with a Close
    }

    @Override
    public void onError(WebSocket socket, Throwable failure) {
        end(NO_CLOSE, failure.toString());
    }

    private void end(int code, String why) {
        if (!closed && !deaf) {
            closed = true;
            owner.ended(this, code, why);
        }
    }
}
