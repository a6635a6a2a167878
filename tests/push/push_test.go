// Package push tests the real program with a push gateway that speaks HTTP.
package push

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

type m = matrixclient.J

// patience is how long something may take.
const patience = 60 * time.Second

// gateway is a push gateway.
type gateway struct {
	t    *testing.T
	url  string
	came chan gjson.Result

	mu     sync.Mutex
	status int
	answer string
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, came: make(chan gjson.Result, 100), status: 200, answer: `{"rejected":[]}`}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.URL.Path != "/_matrix/push/v1/notify" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
		}
		g.mu.Lock()
		status, answer := g.status, g.answer
		g.mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
		if status == 200 {
			g.came <- gjson.GetBytes(body, "notification")
		}
	}))
	t.Cleanup(s.Close)
	g.url = s.URL + "/_matrix/push/v1/notify"
	return g
}

func (g *gateway) respond(status int, answer string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.answer = status, answer
}

func (g *gateway) next() gjson.Result {
	g.t.Helper()
	select {
	case n := <-g.came:
		return n
	case <-time.After(patience):
		g.t.Fatal("no notification came")
		return gjson.Result{}
	}
}

func (g *gateway) expect(path, want string) {
	g.t.Helper()
	if n := g.next(); n.Get(path).Raw != want {
		g.t.Fatalf("%s is not %s in %s", path, want, n.Raw)
	}
}

func TestPhone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	g := newGateway(t)
	s := binary.Start(t, "push.allow_networks=[127.0.0.0/8]")
	register := func(name string) *matrixclient.Client {
		c, err := (&matrixclient.Client{URL: s.URL, HTTP: http.DefaultClient}).Register(ctx, name, "a password")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, bob := register("alice"), register("bob")
	must := func(c *matrixclient.Client, method, path string, body any) gjson.Result {
		t.Helper()
		answer, err := c.Do(ctx, method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	txn := 0
	say := func(room string) string {
		t.Helper()
		txn++
		id, err := bob.Send(ctx, room, "m.room.message", fmt.Sprint(txn), m{"msgtype": "m.text", "body": "hello"})
		if err != nil {
			t.Fatal(err)
		}
		return `"` + id + `"`
	}
	phone := func(c *matrixclient.Client, key string) {
		t.Helper()
		must(c, "POST", "/pushers/set", m{"kind": "http", "app_id": "org.app", "pushkey": key, "app_display_name": "App", "device_display_name": "Phone",
			"lang": "en", "data": m{"url": g.url, "format": "event_id_only"}})
	}
	phone(alice, "k")
	room, err := bob.CreateRoom(ctx, m{"preset": "trusted_private_chat", "is_direct": true, "invite": []string{alice.UserID}})
	if err != nil {
		t.Fatal(err)
	}
	g.expect("counts.unread", "1") // the invite
	if err := alice.Join(ctx, room); err != nil {
		t.Fatal(err)
	}
	g.expect("counts.unread", "0") // she has taken it
	id := say(room)
	n := g.next()
	if n.Get("event_id").Raw != id || n.Get("devices.0.tweaks.sound").Str != "default" || n.Get("content").Exists() {
		t.Errorf("%s", n.Raw)
	}
	must(alice, "POST", matrixclient.Path("rooms", room, "receipt", "m.read", gjson.Parse(id).Str), m{})
	g.expect("counts", `{"unread":0}`)

	// What the gateway did not take comes when it does, although the server dies meanwhile.
	g.respond(503, "")
	id = say(room)
	s.Kill()
	s.Run()
	g.respond(200, "{}")
	g.expect("event_id", id)

	// A push key that the gateway rejects is forgotten.
	g.respond(200, `{"rejected":["k"]}`)
	say(room)
	g.next()
	deadline := time.Now().Add(patience)
	for must(alice, "GET", "/pushers", nil).Get("pushers.#").Int() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the rejected pusher is still there")
		}
	}
	g.respond(200, "{}")

	// So is the pusher of a device that logs out.
	phone(alice, "lost")
	must(alice, "POST", "/logout", m{})
	again, err := alice.Login(ctx, "alice", "a password", "NEW")
	if err != nil {
		t.Fatal(err)
	}
	phone(again, "found")
	say(room)
	g.expect("devices.0.pushkey", `"found"`)
}
