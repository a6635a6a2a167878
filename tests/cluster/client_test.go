package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"
)

// web is how clients reach the nodes. It counts the answers that no planned change may cause.
type web struct {
	http  *http.Client
	mu    sync.Mutex
	nodes []string // URLs
	// failures are the answers with status 5xx, and which they were.
	failures atomic.Int64
	lastFail atomic.Value
}

func newWeb() *web {
	return &web{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, ResponseHeaderTimeout: 40 * time.Second}}}
}

// use sets which nodes clients speak to.
func (w *web) use(nodes ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = nodes
}

func (w *web) any() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[rand.IntN(len(w.nodes))]
}

// user is a logged-in client.
type user struct {
	web    *web
	id     string
	device string
	token  string
}

// refused is an answer that says no.
type refused struct {
	status int
	body   string
}

func (r *refused) Error() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// once makes one request to some node.
func (u *user) once(ctx context.Context, method, path string, body any) (gjson.Result, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return gjson.Result{}, err
		}
	}
	node := u.web.any()
	r, err := http.NewRequestWithContext(ctx, method, node+"/_matrix/client/v3"+path, bytes.NewReader(raw))
	if err != nil {
		return gjson.Result{}, err
	}
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	resp, err := u.web.http.Do(r)
	if err != nil {
		return gjson.Result{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return gjson.Result{}, err
	}
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode >= 500 {
			u.web.failures.Add(1)
			u.web.lastFail.Store(fmt.Sprintf("%s %s%s: %d %s", method, node, path, resp.StatusCode, text))
		}
		return gjson.Result{}, &refused{resp.StatusCode, string(text)}
	}
	return gjson.ParseBytes(text), nil
}

// do repeats a request, which must be idempotent, until it is answered; what is not a failure of the server ends it.
func (u *user) do(ctx context.Context, method, path string, body any) (gjson.Result, error) {
	for {
		try, cancel := context.WithTimeout(ctx, 35*time.Second)
		answer, err := u.once(try, method, path, body)
		cancel()
		var no *refused
		if err == nil || errors.As(err, &no) && no.status < 500 && no.status != http.StatusTooManyRequests {
			return answer, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return gjson.Result{}, fmt.Errorf("%w; the last answer was: %w", ctx.Err(), err)
		}
	}
}

func register(ctx context.Context, w *web, name string) (*user, error) {
	u := &user{web: w}
	answer, err := u.once(ctx, "POST", "/register", map[string]any{"username": name, "password": "pw", "auth": map[string]string{"type": "m.login.dummy"}})
	if err != nil {
		return nil, err
	}
	u.id, u.device, u.token = answer.Get("user_id").Str, answer.Get("device_id").Str, answer.Get("access_token").Str
	return u, nil
}

func (u *user) send(ctx context.Context, roomID, txn, text string) (eventID string, err error) {
	answer, err := u.do(ctx, "PUT", "/rooms/"+url.PathEscape(roomID)+"/send/m.room.message/"+txn, map[string]string{"msgtype": "m.text", "body": text})
	return answer.Get("event_id").Str, err
}

func (u *user) toDevice(ctx context.Context, to *user, txn string, n int) error {
	_, err := u.do(ctx, "PUT", "/sendToDevice/org.example.test/"+txn, map[string]any{
		"messages": map[string]any{to.id: map[string]any{to.device: map[string]any{"n": n}}}})
	return err
}

// message is an m.room.message in a timeline.
type message struct{ id, sender, text string }

func messagesOf(events gjson.Result) []message {
	var all []message
	events.ForEach(func(_, e gjson.Result) bool {
		if e.Get("type").Str == "m.room.message" {
			all = append(all, message{e.Get("event_id").Str, e.Get("sender").Str, e.Get("content.body").Str})
		}
		return true
	})
	return all
}

// back pages back from a token until stop says that an event is known, or to the beginning. It gives the messages in the
// order of the room.
func (u *user) back(ctx context.Context, roomID, from string, stop func(eventID string) bool) ([]message, error) {
	var found []message
	for {
		path := "/rooms/" + url.PathEscape(roomID) + "/messages?dir=b&limit=100"
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		page, err := u.do(ctx, "GET", path, nil)
		if err != nil {
			return nil, err
		}
		done := false
		page.Get("chunk").ForEach(func(_, e gjson.Result) bool {
			if stop(e.Get("event_id").Str) {
				done = true
				return false
			}
			if e.Get("type").Str == "m.room.message" {
				found = append(found, message{e.Get("event_id").Str, e.Get("sender").Str, e.Get("content.body").Str})
			}
			return true
		})
		if from = page.Get("end").Str; done || from == "" {
			for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
				found[i], found[j] = found[j], found[i]
			}
			return found, nil
		}
	}
}
