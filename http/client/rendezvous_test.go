package client_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

const meeting = "/_matrix/client/unstable/io.element.msc4388/rendezvous"

// TestRendezvous is two devices that meet (MSC4388).
func TestRendezvous(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	a, b := w.Register("alice"), w.Nobody()
	if !a.Get(meeting).OK().At("create_available").Bool() || b.Get(meeting).OK().At("create_available").Bool() {
		t.Error("users may begin a session, and nobody else")
	}
	b.Post(meeting, clienttest.J{"data": "x"}).Refused(403, "M_FORBIDDEN")
	a.Post(meeting, clienttest.J{}).Refused(400, "M_MISSING_PARAM")
	a.Post(meeting, clienttest.J{"data": 7}).Refused(400, "M_BAD_JSON")
	a.Post(meeting, clienttest.J{"data": strings.Repeat("x", 4097)}).Refused(413, "M_TOO_LARGE")
	begun := a.Post(meeting, clienttest.J{"data": strings.Repeat("\u0001", 4096)}).OK()
	place := meeting + "/" + begun.Text("id")
	first := begun.Text("sequence_token")
	if ms := begun.At("expires_in_ms").Int(); ms != 300_000 {
		t.Errorf("expires in %d ms", ms)
	}
	if got := b.Get(place).OK(); got.Text("data") != strings.Repeat("\u0001", 4096) || got.Text("sequence_token") != first {
		t.Errorf("%s", got.Raw)
	}
	b.Put(place, clienttest.J{"data": "from b"}).Refused(400, "M_MISSING_PARAM")
	second := b.Put(place, clienttest.J{"data": "from b", "sequence_token": first}).OK().Text("sequence_token")
	if again := b.Put(place, clienttest.J{"data": "from b", "sequence_token": first}).OK().Text("sequence_token"); again != second {
		t.Error("a repeated write is another one")
	}
	a.Put(place, clienttest.J{"data": "late", "sequence_token": first}).Refused(409, "M_CONCURRENT_WRITE")
	third := b.Put(place, clienttest.J{"data": "from b", "sequence_token": second}).OK().Text("sequence_token")
	if third == second {
		t.Error("the same payload, written anew, has the same token")
	}
	token := third
	for i := range 30 { // more than are kept
		token = a.Put(place, clienttest.J{"data": strings.Repeat("y", i), "sequence_token": token}).OK().Text("sequence_token")
	}
	if got := b.Get(place).OK(); len(got.Text("data")) != 29 {
		t.Errorf("%s", got.Raw)
	}

	// Of many who write at once one succeeds.
	var wait sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range 8 {
		wait.Go(func() {
			got := w.Nobody().Put(place, clienttest.J{"data": strings.Repeat("z", i+1), "sequence_token": token})
			mu.Lock()
			defer mu.Unlock()
			statuses[got.Status]++
		})
	}
	wait.Wait()
	if statuses[200] != 1 || statuses[409] != 7 {
		t.Errorf("statuses: %v", statuses)
	}

	b.Delete(place).OK()
	b.Delete(place).Refused(404, "M_NOT_FOUND")
	b.Get(place).Refused(404, "M_NOT_FOUND")
	b.Put(place, clienttest.J{"data": "x", "sequence_token": token}).Refused(404, "M_NOT_FOUND")
	old := meeting + "/" + a.Post(meeting, clienttest.J{"data": ""}).OK().Text("id")
	w.Clock.Advance(5 * time.Minute)
	b.Get(old).Refused(404, "M_NOT_FOUND")
}

// TestRendezvousInText is the same as clients knew it in 2024 (MSC4108).
func TestRendezvousInText(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	do := func(method, url, body string, headers ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	want := func(resp *http.Response, status int) string {
		t.Helper()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%d %s %v, want %d", resp.StatusCode, raw, err, status)
		}
		return string(raw)
	}
	path := w.URL() + "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"
	const kind = "text/plain"
	want(do("POST", path, "a", "Content-Type", kind), 403)
	want(do("POST", path, "{}", "Content-Type", "application/json", "Authorization", "Bearer "+alice.Token), 400)
	begun := do("POST", path, "a", "Content-Type", kind, "Authorization", "Bearer "+alice.Token)
	place := strings.Split(want(begun, 201), `"`)[3]
	tag := begun.Header.Get("ETag")
	if !strings.HasPrefix(place, path+"/") || tag == "" || begun.Header.Get("Expires") == "" || begun.Header.Get("Last-Modified") == "" {
		t.Fatalf("%s %v", place, begun.Header)
	}
	want(do("GET", place, "", "If-None-Match", tag), 304)
	if got := do("GET", place, ""); want(got, 200) != "a" || got.Header.Get("ETag") != tag || got.Header.Get("Content-Type") != kind {
		t.Errorf("%v", got.Header)
	}
	want(do("GET", place, "", "Sec-Fetch-Mode", "navigate"), 403)
	want(do("PUT", place, "b", "Content-Type", kind), 400)
	put := do("PUT", place, "b", "Content-Type", kind, "If-Match", tag)
	want(put, 202)
	if said := want(do("PUT", place, "c", "Content-Type", kind, "If-Match", tag), 412); !strings.Contains(said, "M_CONCURRENT_WRITE") {
		t.Errorf("%s", said)
	}
	want(do("PUT", place, strings.Repeat("x", 4097), "Content-Type", kind, "If-Match", put.Header.Get("ETag")), 413)
	if want(do("GET", place, "", "If-None-Match", tag), 200) != "b" {
		t.Error("not what was written")
	}
	want(do("DELETE", place, ""), 204)
	want(do("GET", place, ""), 404)
}
