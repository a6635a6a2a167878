package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// values are of every type, and beyond every bound.
var values = map[string]string{
	"null": `null`, "true": `true`, "a number": `3`, "a negative fraction": `-1.5`, "a number beyond floats": `1e400`, "a number beyond 64 bits": `12345678901234567890`,
	"an empty string": `""`, "a string": `"x"`, "a string with NUL": `"a\u0000b"`, "a long string": `"` + strings.Repeat("x", 100_000) + `"`,
	"a lone surrogate": `"\ud800"`, "an empty array": `[]`, "arrays": `[[],[]]`, "an array of everything": `[null,1,"x",{}]`, "an empty object": `{}`, "objects": `{"a":{"b":[1]},"":null}`,
	"very deep": strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000),
}

// kinds are the JSON types of values, where they are one.
var kinds = map[string]string{
	"true": "boolean", "a number": "integer", "an empty string": "string", "a string": "string", "an empty array": "array", "arrays": "array", "an array of everything": "array",
	"an empty object": "object", "objects": "object", "a negative fraction": "number",
}

// segments are parts of a path or a query, as they go over the wire.
var segments = []string{"", "x", "%00", "%ff", "%2F", "%2F..%2F..", "..", "%20", "!", "@x", "$", "%23x", "%F0%9F%98%80", "-1", "0", "1.5", "99999999999999999999", "true", "null", "%7B", "%5B%5D",
	strings.Repeat("a", 10_000)}

// leniently are the endpoints whose bodies are the client's own, wholly or in part, so that a wrong type is none.
var leniently = map[string]bool{
	"sendMessage": true, "sendMessageWithoutTransaction": true, "setRoomStateWithKey": true, "setAccountData": true, "setAccountDataPerRoom": true, "setProfileField": true,
}

// set gives the body with another value at one place.
func set(body any, path []any, value json.RawMessage) any {
	if len(path) == 0 {
		return value
	}
	switch key := path[0].(type) {
	case string:
		object, _ := body.(map[string]any)
		changed := maps.Clone(object)
		if changed == nil {
			changed = map[string]any{}
		}
		changed[key] = set(changed[key], path[1:], value)
		return changed
	default:
		list, _ := body.([]any)
		if len(list) == 0 {
			list = []any{nil}
		}
		changed := slices.Clone(list)
		changed[0] = set(changed[0], path[1:], value)
		return changed
	}
}

// attack is the attack on one endpoint.
type attack struct {
	w      *world
	q      request
	p      *person
	people *atomic.Int64
	sent   int
	t      *testing.T
}

// somebody is a new person: some requests end the account or the session that makes them.
func (a *attack) somebody(ctx context.Context) {
	var err error
	if a.p, err = a.w.person(ctx, "p"+strconv.FormatInt(a.people.Add(1), 10)); err != nil {
		a.t.Fatal(err)
	}
}

func (a *attack) send(ctx context.Context, what, path string, body []byte) answer {
	got, err := a.w.ask(ctx, a.q.Method, path, a.p.Token, body)
	a.sent++
	if err != nil {
		a.t.Errorf("%s with %s: %v", a.q, what, err)
		return got
	}
	if wrong := got.malformed(); wrong != "" {
		a.t.Errorf("%s with %s: %s: %s", a.q, what, wrong, got)
	}
	if got.status == 401 && strings.HasSuffix(got.code(), "UNKNOWN_TOKEN") || got.code() == "M_USER_DEACTIVATED" {
		a.somebody(ctx)
	}
	return got
}

// body is a body that the specification shows.
func (a *attack) body() any {
	var body any
	if len(a.q.Example) > 0 {
		if err := json.Unmarshal(a.q.Example, &body); err != nil {
			a.t.Fatal(err)
		}
	}
	return body
}

func marshal(t *testing.T, body any) []byte {
	t.Helper()
	if body == nil {
		return nil
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// run attacks, and reports whether the server has the endpoint.
func (a *attack) run(ctx context.Context) bool {
	a.somebody(ctx)
	example := a.body()
	base := a.send(ctx, "what the specification shows", a.p.path(a.q, "", ""), marshal(a.t, example))
	if base.code() == "M_UNRECOGNIZED" {
		return false
	}
	for _, one := range a.q.Params {
		for _, segment := range segments {
			if segment == "" && one.In == "path" {
				continue // another path
			}
			a.send(ctx, fmt.Sprintf("%s = %.50q", one.Name, segment), a.p.path(a.q, one.Name, segment), marshal(a.t, example))
		}
	}
	seen := map[string]bool{}
	for _, f := range a.q.Fields {
		if seen[fmt.Sprint(f.Path)] {
			continue
		}
		seen[fmt.Sprint(f.Path)] = true
		for name, value := range values {
			got := a.send(ctx, fmt.Sprintf("%s at %v", name, f.Path), a.p.path(a.q, "", ""), marshal(a.t, set(example, f.Path, json.RawMessage(value))))
			// A wrong type is refused before anything is done.
			kind := kinds[name]
			wrong := kind != "" && f.Type != "" && kind != f.Type && !(f.Type == "number" && kind == "integer")
			if wrong && got.status == 200 && !leniently[a.q.ID] {
				a.t.Errorf("%s takes %s at %v, where a value of type %s stands", a.q, name, f.Path, f.Type)
			}
		}
	}
	if len(a.q.Fields) > 0 || a.q.Method == "POST" || a.q.Method == "PUT" {
		for name, body := range map[string]string{"no body": "", "null": "null", "an array": "[]", "a string": `"x"`, "half an object": `{"a":`, "two objects": `{}{}`, "a key twice": `{"a":1,"a":2}`,
			"invalid UTF-8": "{\"a\":\"\xff\"}", "a byte order mark": "\ufeff{}", "deep objects": strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)} {
			a.send(ctx, "the body "+name, a.p.path(a.q, "", ""), []byte(body))
		}
	}
	return true
}

// TestEveryField sends every endpoint every wrong type in every field, and nonsense in every parameter.
func TestEveryField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	work := make(chan request)
	var people, served, sent atomic.Int64
	var attackers sync.WaitGroup
	for range 8 {
		attackers.Go(func() {
			for q := range work {
				a := &attack{w: w, q: q, people: &people, t: t}
				if a.run(ctx) {
					served.Add(1)
				}
				sent.Add(int64(a.sent))
			}
		})
	}
	for _, q := range requests(t) {
		work <- q
	}
	close(work)
	attackers.Wait()
	if served.Load() < 100 {
		t.Errorf("only %d endpoints are served", served.Load())
	}
	t.Logf("%d requests to %d endpoints", sent.Load(), served.Load())
	w.checkLog(t)
	if megabytes := w.memory(t); megabytes > 512 {
		t.Errorf("the server takes %d MB", megabytes)
	}
}

// checkLog wants nothing in the server's log that somebody should look after.
func (w *world) checkLog(t *testing.T) {
	t.Helper()
	shown := 0
	for _, line := range strings.Split(w.server.Log(), "\n") {
		if (strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic")) && shown < 10 {
			t.Errorf("the server logged: %.1500s", line)
			shown++
		}
	}
}

// memory is what the server takes, in MB.
func (w *world) memory(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.server.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(raw), "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes / 1024
}
