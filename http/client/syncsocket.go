package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

const (
	// socketMessage bounds what the client sends: {"since": "…"}.
	socketMessage = 4 << 10
	// socketPatience is how long the client may take to ask for the next answer.
	socketPatience = 5 * time.Minute
	// socketCompress is from which size on answers are compressed, in bytes.
	socketCompress = 1400
)

// The codes with which a socket is closed, beside those of RFC 6455: what the client did not keep to, and that it may not go on.
const (
	closedUnasked websocket.StatusCode = 4000 + iota // it asked for an answer before it had the last, or for none in time
	closedRefused                                    // the reason begins with the errcode
)

// socket streams over a WebSocket (RFC 6455). Any page may open one, as any page may use the client-server API: who asks is known by the
// token alone.
func (y *syncing) socket(r *api.Request) (any, error) {
	if r.HTTP.ProtoMajor != 1 || !strings.EqualFold(r.HTTP.Header.Get("Upgrade"), "websocket") {
		return nil, mxerr.New(http.StatusUpgradeRequired, "M_UNKNOWN", "this endpoint speaks WebSocket, over HTTP/1.1")
	}
	req, resp, err := y.first(r, "")
	if err != nil {
		return nil, err
	}
	return api.Stream(func(w http.ResponseWriter, hr *http.Request) error {
		conn, err := websocket.Accept(w, hr, &websocket.AcceptOptions{
			InsecureSkipVerify: true, CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: socketCompress})
		if err != nil {
			return nil //nolint:nilerr // it has answered with what is wrong with the handshake
		}
		conn.SetReadLimit(socketMessage)
		ctx, gone := context.WithCancel(context.WithoutCancel(r.Ctx)) // the connection is not the server's any more, nor its context
		defer gone()
		asked := make(chan string, 1)
		go func() {
			defer gone()
			listen(ctx, conn, asked)
		}()
		r.Ctx = ctx
		code, reason := y.converse(r, req, resp, conn, asked)
		_ = conn.Close(code, reason) // it may be closed already
		return nil
	}), nil
}

// converse sends an answer, waits until the client asks for the one after it, and so on. It gives the code and the reason to close with.
func (y *syncing) converse(r *api.Request, req syncer.Request, resp *syncer.Response, conn *websocket.Conn, asked <-chan string) (websocket.StatusCode, string) {
	drained := make(chan struct{})
	defer r.OnDrain(func() { close(drained) })()
	for {
		raw, err := json.Marshal(resp, json.Deterministic(true))
		if err != nil {
			y.Log.Error("a sync could not be written", "user", r.User(), "error", err)
			return websocket.StatusInternalError, ""
		}
		write, done := context.WithTimeout(r.Ctx, streamWrite)
		err = conn.Write(write, websocket.MessageText, raw)
		done()
		if err != nil || y.Now().Sub(r.Now) > streamLife {
			return websocket.StatusGoingAway, "begin another"
		}
		late := time.NewTimer(socketPatience)
		select {
		case req.Since = <-asked:
			late.Stop()
		case <-late.C:
			return closedUnasked, "no answer was asked for"
		case <-drained:
			late.Stop()
			return websocket.StatusGoingAway, "begin another"
		case <-r.Ctx.Done():
			late.Stop()
			return websocket.StatusNormalClosure, ""
		}
		if resp, err = y.next(r, req); err != nil {
			if r.Ctx.Err() != nil {
				return websocket.StatusNormalClosure, ""
			}
			return y.refuseSocket(r, err)
		}
	}
}

// listen reads what the client asks for until it says something else or is gone.
func listen(ctx context.Context, conn *websocket.Conn, asked chan<- string) {
	for {
		kind, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var ask struct {
			Since string `json:"since"`
		}
		if kind != websocket.MessageText || json.Unmarshal(raw, &ask) != nil || ask.Since == "" {
			_ = conn.Close(websocket.StatusPolicyViolation, `a message is {"since": "…"}`)
			return
		}
		select {
		case asked <- ask.Since:
		default:
			_ = conn.Close(closedUnasked, "an answer is on its way already")
			return
		}
	}
}

// refuseSocket gives the code and the reason for an error.
func (y *syncing) refuseSocket(r *api.Request, err error) (websocket.StatusCode, string) {
	var refused *mxerr.Error
	if !errors.As(err, &refused) {
		y.Log.Error("a stream of syncs failed", "user", r.User(), "error", err)
		return websocket.StatusInternalError, "M_UNKNOWN"
	}
	reason := refused.Code + ": " + refused.Message
	return closedRefused, strings.ToValidUTF8(reason[:min(len(reason), 120)], "") // RFC 6455 has 123 bytes for it
}
