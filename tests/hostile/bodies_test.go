package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	p, err := w.person(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	room := "/_matrix/client/v3/rooms/" + url.PathEscape(p.room)
	type body = string
	long := func(n int) string { return strings.Repeat("x", n) }
	state := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"type":"org.example","state_key":"%d","content":{}}`, i))
		}
		return `{"initial_state":[` + strings.Join(all, ",") + `]}`
	}
	for name, c := range map[string]struct {
		method, path string
		body         body
		status       int
		code         string
	}{
		"no JSON":                       {"PUT", room + "/send/m.x/1", `{"a":`, 400, "M_NOT_JSON"},
		"nothing":                       {"PUT", room + "/send/m.x/2", ``, 400, "M_NOT_JSON"},
		"something after it":            {"PUT", room + "/send/m.x/3", `{} x`, 400, "M_NOT_JSON"},
		"not an object":                 {"PUT", room + "/send/m.x/4", `[1]`, 400, "M_BAD_JSON"},
		"a key twice":                   {"PUT", room + "/send/m.x/5", `{"a":{"b":1,"b":2}}`, 400, "M_NOT_JSON M_BAD_JSON"},
		"a key twice, differently":      {"PUT", room + "/send/m.x/6", `{"a":1,"\u0061":2}`, 400, "M_NOT_JSON M_BAD_JSON"},
		"invalid UTF-8":                 {"PUT", room + "/send/m.x/7", "{\"a\":\"\xc3\x28\"}", 400, "M_NOT_JSON M_BAD_JSON"},
		"a lone surrogate":              {"PUT", room + "/send/m.x/8", `{"a":"\ud800"}`, 400, "M_NOT_JSON M_BAD_JSON"},
		"a fraction in an event":        {"PUT", room + "/send/m.x/9", `{"a":1.5}`, 400, "M_BAD_JSON"},
		"an exponent in an event":       {"PUT", room + "/send/m.x/10", `{"a":1e3}`, 400, "M_BAD_JSON"},
		"a number beyond 2^53":          {"PUT", room + "/send/m.x/11", `{"a":9007199254740992}`, 400, "M_BAD_JSON"},
		"the largest number":            {"PUT", room + "/send/m.x/12", `{"a":9007199254740991,"b":-9007199254740991}`, 200, ""},
		"deeper than anybody needs":     {"PUT", room + "/send/m.x/13", strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), 400, "M_NOT_JSON M_BAD_JSON"},
		"an event that is too large":    {"PUT", room + "/send/m.x/14", `{"a":"` + long(66_000) + `"}`, 413, "M_TOO_LARGE"},
		"an event that just fits":       {"PUT", room + "/send/m.x/15", `{"a":"` + long(64_000) + `"}`, 200, ""},
		"a type of 255 bytes":           {"PUT", room + "/send/" + long(255) + "/16", `{}`, 200, ""},
		"a type of 256 bytes":           {"PUT", room + "/send/" + long(256) + "/17", `{}`, 413, "M_TOO_LARGE"},
		"a state key of 255 bytes":      {"PUT", room + "/state/m.x/" + long(255), `{}`, 200, ""},
		"a state key of 256 bytes":      {"PUT", room + "/state/m.x/" + long(256), `{}`, 413, "M_TOO_LARGE"},
		"a state key of 86 wide signs":  {"PUT", room + "/state/m.x/" + strings.Repeat("%E2%82%AC", 86), `{}`, 413, "M_TOO_LARGE"},
		"a body beyond every bound":     {"PUT", room + "/send/m.x/18", `{"a":"` + long(60<<20) + `"}`, 413, "M_TOO_LARGE"},
		"10,000 events at once":         {"POST", "/_matrix/client/v3/createRoom", state(10_000), 400, "M_INVALID_PARAM"},
		"a device message of 1 MB":      {"PUT", "/_matrix/client/v3/sendToDevice/m.x/1", `{"messages":{"` + p.UserID + `":{"*":{"a":"` + long(1<<20) + `"}}}}`, 413, "M_TOO_LARGE"},
		"a display name of 1,000 bytes": {"PUT", "/_matrix/client/v3/profile/" + p.UserID + "/displayname", `{"displayname":"` + long(1000) + `"}`, 400, "M_INVALID_PARAM M_TOO_LARGE M_PROFILE_TOO_LARGE M_BAD_JSON"},
		"a password of 1 MB":            {"POST", "/_matrix/client/v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"` + long(200_000) + `"}`, 403, "M_FORBIDDEN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := w.ask(ctx, c.method, c.path, p.Token, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if wrong := got.malformed(); wrong != "" {
				t.Errorf("%s: %s", wrong, got)
			}
			fits := c.code == "" && got.code() == ""
			for _, code := range strings.Fields(c.code) {
				fits = fits || got.code() == code
			}
			if got.status != c.status || !fits {
				t.Errorf("the answer is %s, not %d %s", got, c.status, c.code)
			}
		})
	}
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "nonsense"} {
		t.Run("of type "+contentType, func(t *testing.T) {
			t.Parallel()
			got, err := w.askWith(ctx, contentType, "PUT", room+"/send/m.x/"+url.PathEscape(contentType), p.Token, []byte(`{"a":1}`))
			if err != nil {
				t.Fatal(err)
			}
			if wrong := got.malformed(); wrong != "" {
				t.Errorf("%s: %s", wrong, got)
			}
			if got.status != 200 && got.status != 400 && got.status != 415 {
				t.Errorf("the answer is %s", got)
			}
		})
	}
	t.Cleanup(func() {
		w.checkLog(t)
		if megabytes := w.memory(t); megabytes > 512 {
			t.Errorf("the server takes %d MB", megabytes)
		}
	})
}

// TestSlowClients opens connections that never get to the point. Others are served meanwhile, and the connections are closed.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	p, err := w.person(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(w.server.URL, "http://")
	open := func(text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	const many = 300
	var headers, bodies []net.Conn
	for range many {
		headers = append(headers, open("GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\nX-Slow: "))
		bodies = append(bodies, open("PUT /_matrix/client/v3/rooms/"+url.PathEscape(p.room)+"/send/m.x/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+p.Token+
			"\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"))
	}
	for range 20 {
		if _, err := p.Sync(ctx, "", "", 0); err != nil {
			t.Fatalf("others are not served: %v", err)
		}
	}
	if megabytes := w.memory(t); megabytes > 256 {
		t.Errorf("slow clients cost %d MB", megabytes)
	}
	// Those who send a byte every second are not idle, and no better.
	for _, text := range []string{"GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\nX-Slow: ", "PUT /_matrix/client/v3/rooms/" + url.PathEscape(p.room) +
		"/send/m.x/drip HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.Token + "\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"} {
		c := open(text)
		go drip(c)
		bodies = append(bodies, c)
	}
	for _, group := range [][]net.Conn{headers, bodies} {
		for _, c := range group {
			if err := c.SetReadDeadline(time.Now().Add(90 * time.Second)); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(c)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("a connection that says nothing stays open")
			}
			if first, _, _ := bytes.Cut(said, []byte("\r\n")); len(said) > 0 && !bytes.Contains(first, []byte(" 408 ")) {
				t.Fatalf("a slow client is told %q", first)
			}
		}
	}
	w.checkLog(t)
}

// drip sends a byte every second until the connection is closed.
func drip(c net.Conn) {
	for range time.Tick(time.Second) {
		if _, err := c.Write([]byte(" ")); err != nil {
			return
		}
	}
}

// TestRates wants those who ask too often to be told when to come back.
func TestRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits.enabled=true", "limits.message.per_second=0.5", "limits.message.burst=3")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := w.person(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		got, err := w.ask(ctx, "PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(p.room)+"/send/m.x/"+fmt.Sprint(n), p.Token, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if wrong := got.malformed(); wrong != "" {
			t.Errorf("%s: %s", wrong, got)
		}
		if got.status == 429 {
			wait := gjson.GetBytes(got.body, "retry_after_ms").Int()
			if got.code() != "M_LIMIT_EXCEEDED" || wait < 1 || wait > 10_000 || got.header.Get("Retry-After") == "" {
				t.Errorf("too many requests are answered with %s and Retry-After %q", got, got.header.Get("Retry-After"))
			}
			return
		}
	}
	t.Error("10 messages at once pass a limit of 3")
}
