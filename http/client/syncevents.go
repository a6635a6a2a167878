package client

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/gzhttp"

	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

const (
	// streamPoll is how long a stream is silent at most: proxies close connections on which nothing happens.
	streamPoll = 30 * time.Second
	// streamLife is how long a stream lasts; then the client begins another, perhaps with another node.
	streamLife = time.Hour
	// streamWrite is how long a client may take to take one answer. A client that is slower loses the stream, and goes on from the last
	// answer that it has.
	streamWrite = time.Minute
	// streamRetry is how long the client waits before it begins another stream, in milliseconds.
	streamRetry = "50"
)

// SyncStreams are the streams of syncs, an extension that docs/sync-streams.md describes: what /sync answers, one answer after another, as
// server-sent events or over a WebSocket. Nothing is queued for a client: an answer is made when the one before has been taken.
func SyncStreams(d Deps, s *syncer.Syncer, presence bool) []api.Endpoint {
	y := &syncing{d, s, presence}
	const path = "/_matrixon/client/v1/sync"
	return []api.Endpoint{
		{Methods: get, Path: path + "/events", Auth: api.User, Limit: api.LimitRead, Handler: y.events},
		{Methods: get, Path: path + "/socket", Auth: api.User, Limit: api.LimitRead, Handler: y.socket},
	}
}

// first gives the answer with which a stream begins. What is wrong with the request is found out here, before anything was written.
func (y *syncing) first(r *api.Request, since string) (syncer.Request, *syncer.Response, error) {
	req, err := y.request(r)
	if err != nil {
		return req, nil, err
	}
	if since != "" {
		req.Since = since
	}
	resp, err := y.syncer.Sync(r.Ctx, req)
	req.FullState, req.Timeout = false, streamPoll
	return req, resp, err
}

// events streams as server-sent events (HTML, "Server-sent events").
func (y *syncing) events(r *api.Request) (any, error) {
	req, resp, err := y.first(r, r.HTTP.Header.Get("Last-Event-ID"))
	if err != nil {
		return nil, err
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // nginx would wait until much has come
		h.Set(gzhttp.HeaderNoCompression, "1")
		e := eventWriter{w, http.NewResponseController(w)}
		if e.write("retry: "+streamRetry+"\n\n") == nil {
			y.streamEvents(r, req, resp, e)
		}
		return nil
	}), nil
}

// streamEvents goes on until the stream has lasted long enough, somebody ends it, or the client is to confirm that it has messages to its
// device: there is no way back but the id with which it begins another stream.
func (y *syncing) streamEvents(r *api.Request, req syncer.Request, resp *syncer.Response, e eventWriter) {
	drained := make(chan struct{})
	defer r.OnDrain(func() { close(drained) })()
	for {
		raw, err := json.Marshal(resp, json.Deterministic(true))
		if err != nil {
			y.Log.Error("a sync could not be written", "user", r.User(), "error", err)
			return
		}
		if e.write("id: "+resp.NextBatch+"\nevent: sync\ndata: ", string(raw), "\n\n") != nil || resp.ToDevice != nil || y.Now().Sub(r.Now) > streamLife {
			return
		}
		select {
		case <-drained:
			return
		default:
		}
		req.Since = resp.NextBatch
		if resp, err = y.next(r, req); err != nil {
			y.failEvents(r, e, err)
			return
		}
	}
}

// next waits for the next answer, as long as the caller may have it.
func (y *syncing) next(r *api.Request, req syncer.Request) (*syncer.Response, error) {
	if err := r.Recheck(); err != nil {
		return nil, err
	}
	resp, err := y.poll(r, req)
	if err != nil {
		return nil, err
	}
	return resp, r.Recheck()
}

// failEvents tells the client why the stream ends.
func (y *syncing) failEvents(r *api.Request, e eventWriter, err error) {
	if r.Ctx.Err() != nil {
		return
	}
	var refused *mxerr.Error
	if !errors.As(err, &refused) {
		y.Log.Error("a stream of syncs failed", "user", r.User(), "error", err)
	}
	refused = mxerr.From(err)
	raw, err := json.Marshal(map[string]string{"errcode": refused.Code, "error": refused.Message}, json.Deterministic(true))
	if err == nil {
		_ = e.write("event: refused\ndata: ", string(raw), "\n\n") // a client that is gone needs no reason
	}
}

// eventWriter writes the events of a stream.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (e eventWriter) write(parts ...string) error {
	_ = e.control.SetWriteDeadline(time.Now().Add(streamWrite)) // writers without deadlines are those of tests
	for _, part := range parts {
		if _, err := e.w.Write([]byte(part)); err != nil {
			return err
		}
	}
	return e.control.Flush()
}
