package client_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence/schema"
)

const streams = "/_matrixon/client/v1/sync"

// impatient ends a test that waits for what does not come.
func impatient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventStream reads server-sent events.
type eventStream struct {
	t     *testing.T
	lines *bufio.Scanner
}

func openEvents(t *testing.T, u *clienttest.User, query, last string) *eventStream {
	t.Helper()
	req := u.Request(impatient(t), streams+"/events"+query)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &eventStream{t, lines}
}

// next gives the fields of the next event, nil at the end.
func (s *eventStream) next() map[string]string {
	s.t.Helper()
	fields := map[string]string{}
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			if fields["data"] != "" {
				return fields
			}
			fields = map[string]string{}
			continue
		}
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		fields[name] = value
	}
	if err := s.lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return nil
}

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	s := openEvents(t, bob, "?set_presence=offline", "")
	first := s.next()
	if first["event"] != "sync" || !gjson.Get(first["data"], "rooms.join."+gjson.Escape(room)).Exists() || first["id"] != gjson.Get(first["data"], "next_batch").Str {
		t.Fatalf("%v", first)
	}
	for _, text := range []string{"one", "two", "three\nlines"} {
		said := alice.Say(room, text)
		e := s.next()
		if got := gjson.Get(e["data"], "rooms.join."+gjson.Escape(room)+".timeline.events.0.event_id").Str; got != said {
			t.Fatalf("after %q comes %v", text, e)
		}
	}
	// Messages to the device end the stream: the next one confirms them, and no other way does.
	alice.Put("/sendToDevice/m.x/1", J{"messages": J{bob.ID: J{bob.Device: J{"n": 1}}}}).OK()
	message := s.next()
	if gjson.Get(message["data"], "to_device.events.0.content.n").Int() != 1 {
		t.Fatalf("%v", message)
	}
	if e := s.next(); e != nil {
		t.Fatalf("the stream goes on with %v", e)
	}
	again := openEvents(t, bob, "?set_presence=offline&since=x", first["id"]).next() // as if the client had not got the message
	if gjson.Get(again["data"], "to_device.events.0.content.n").Int() != 1 {
		t.Fatalf("the message is lost: %v", again)
	}
	s = openEvents(t, bob, "?set_presence=offline", again["id"])
	if e := s.next(); gjson.Get(e["data"], "to_device").Exists() {
		t.Fatalf("the message comes again: %v", e)
	}
	// It ends with the session.
	bob.Post("/logout", J{}).OK()
	e := s.next()
	if e["event"] != "refused" || gjson.Get(e["data"], "errcode").Str != "M_UNKNOWN_TOKEN" || s.next() != nil {
		t.Fatalf("%v", e)
	}
}

func TestLockedUserLosesStream(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	s := openEvents(t, alice, "?set_presence=offline", "")
	s.next()
	w.Write(schema.Accounts.Put(schema.Account{UserID: alice.ID, Locked: true}))
	w.Tokens.Forget(alice.ID)
	bob.Say(room, "not for alice")
	if e := s.next(); e["event"] != "refused" || gjson.Get(e["data"], "errcode").Str != "M_USER_LOCKED" {
		t.Fatalf("%v", e)
	}
}

func TestStreamsAreRefused(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	for _, path := range []string{"/events", "/socket"} {
		w.Nobody().Get(streams+path).Refused(401, "M_MISSING_TOKEN")
	}
	alice.Get(streams+"/events?since=x").Refused(400, "M_INVALID_PARAM")
	alice.Get(streams+"/events?filter=none").Refused(404, "M_NOT_FOUND")
	alice.Get(streams+"/socket").Refused(426, "M_UNKNOWN")
}

// socket speaks WebSocket with the server.
type socket struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
}

func openSocket(t *testing.T, u *clienttest.User, query string) *socket {
	t.Helper()
	ctx := impatient(t)
	req := u.Request(ctx, streams+"/socket"+query)
	conn, resp, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{HTTPHeader: req.Header})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &socket{t, ctx, conn}
}

func (s *socket) read() string {
	s.t.Helper()
	_, raw, err := s.conn.Read(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

func (s *socket) write(text string) {
	s.t.Helper()
	if err := s.conn.Write(s.ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// ask asks for what comes after the answer.
func (s *socket) ask(answer string) {
	s.t.Helper()
	s.write(`{"since":"` + gjson.Get(answer, "next_batch").Str + `"}`)
}

// closes reads the end.
func (s *socket) closes(code websocket.StatusCode, reason string) {
	s.t.Helper()
	_, raw, err := s.conn.Read(s.ctx)
	var end websocket.CloseError
	if !errors.As(err, &end) || end.Code != code || !strings.HasPrefix(end.Reason, reason) {
		s.t.Fatalf("%s %v, want the end with %d %s", raw, err, code, reason)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	s := openSocket(t, bob, "?set_presence=offline")
	first := s.read()
	if !gjson.Get(first, "rooms.join."+gjson.Escape(room)).Exists() {
		t.Fatal(first)
	}
	answer := first
	for _, text := range []string{"one", strings.Repeat("long ", 1000)} {
		s.ask(answer)
		said := alice.Say(room, text)
		answer = s.read()
		if got := gjson.Get(answer, "rooms.join."+gjson.Escape(room)+".timeline.events.0.event_id").Str; got != said {
			t.Fatalf("after %.10q comes %s", text, answer)
		}
	}
	// Messages to the device are confirmed by asking for what comes after them, and come again until then.
	alice.Put("/sendToDevice/m.x/1", J{"messages": J{bob.ID: J{bob.Device: J{"n": 1}}}}).OK()
	for range 2 {
		s.ask(answer)
		if message := s.read(); gjson.Get(message, "to_device.events.0.content.n").Int() != 1 {
			t.Fatal(message)
		}
	}
	// A client that does not keep to the rules is sent away.
	s.write(`{}`)
	s.closes(websocket.StatusPolicyViolation, "a message is")
	for _, bad := range []string{`[`, `{"since":1}`, strings.Repeat(" ", 5000)} {
		s = openSocket(t, bob, "?set_presence=offline")
		s.read()
		s.write(bad)
		if _, _, err := s.conn.Read(s.ctx); err == nil {
			t.Errorf("%.20q is accepted", bad)
		}
	}
	s = openSocket(t, bob, "?set_presence=offline")
	s.read()
	s.write(`{"since":"x"}`)
	s.closes(4001, "M_INVALID_PARAM: ")
	s = openSocket(t, bob, "?set_presence=offline")
	answer = s.read()
	s.ask(answer)
	bob.Post("/logout", J{}).OK()
	s.closes(4001, "M_UNKNOWN_TOKEN: ")
}
