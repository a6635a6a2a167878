package media_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestUploadAndDownload(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice, bob := w.user("alice"), w.user("bob")
	for _, size := range []int{0, 1, 5000, 3_000_000} {
		content := noise(size)
		name := alice.upload(content, "image/png", "?filename=pic.png")
		a := bob.get(downloads+name).ok().has(
			"Content-Type", "image/png",
			"Content-Disposition", `inline; filename="pic.png"`,
			"Content-Length", fmt.Sprint(size),
			"Content-Security-Policy", "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';",
			"Cross-Origin-Resource-Policy", "cross-origin",
			"X-Content-Type-Options", "nosniff",
			"Access-Control-Allow-Origin", "*",
			"Accept-Ranges", "bytes",
			"Content-Encoding", "",
		)
		if !bytes.Equal(a.body, content) {
			t.Errorf("%d bytes came back as %d", size, len(a.body))
		}
		bob.get(downloads+name+"/other%20n%C3%A4me.png").ok().has("Content-Disposition", "inline; filename*=utf-8''other%20n%C3%A4me.png")
	}
	// Without a length that is known before.
	content := noise(100_000)
	name := alice.do(http.MethodPost, "/_matrix/media/v3/upload", iotest.OneByteReader(bytes.NewReader(content))).ok().mxc()
	if a := bob.get(downloads+name).ok().has("Content-Type", "application/octet-stream", "Content-Disposition", "attachment"); !bytes.Equal(a.body, content) {
		t.Error("the content is another")
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	content := noise(1_000_000)
	name := alice.upload(content, "video/mp4", "")
	etag := alice.get(downloads + name).ok().header.Get("ETag")
	for span, want := range map[string][2]int{"bytes=0-0": {0, 1}, "bytes=500000-": {500_000, 1_000_000}, "bytes=-10": {999_990, 1_000_000}, "bytes=10-99": {10, 100}} {
		a := alice.get(downloads+name, "Range", span, "If-Range", etag)
		if a.status != http.StatusPartialContent || !bytes.Equal(a.body, content[want[0]:want[1]]) {
			t.Errorf("%s: %d with %d bytes", span, a.status, len(a.body))
		}
		a.has("Content-Range", fmt.Sprintf("bytes %d-%d/1000000", want[0], want[1]-1))
	}
	if a := alice.get(downloads+name, "Range", "bytes=1000000-"); a.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range beyond the end: %d", a.status)
	}
	for _, spans := range []string{"bytes=0-0,5-9", "bytes=0-0" + strings.Repeat(",2-2", 5000), "bytes=a-b,"} {
		if a := alice.get(downloads+name, "Range", spans).ok(); !bytes.Equal(a.body, content) {
			t.Errorf("several ranges: %d bytes", len(a.body))
		}
	}
	if a := alice.get(downloads+name, "If-None-Match", etag); a.status != http.StatusNotModified {
		t.Errorf("not modified: %d", a.status)
	}
	if a := alice.do(http.MethodHead, downloads+name, nil).ok().has("Content-Length", "1000000"); len(a.body) != 0 {
		t.Error("HEAD had a body")
	}
}

func TestWhoMayFetch(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	name := alice.upload([]byte("x"), "text/plain", "")
	w.nobody().get(downloads+name).refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	for _, path := range []string{"/_matrix/media/v3/download/", "/_matrix/media/r0/download/", "/_matrix/media/v1/download/"} {
		w.nobody().get(path+name).refused(http.StatusNotFound, "M_NOT_FOUND")
		alice.get(path+name).refused(http.StatusNotFound, "M_NOT_FOUND")
	}
	w.nobody().do(http.MethodPost, "/_matrix/media/v3/upload", strings.NewReader("x")).refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	w.nobody().get("/_matrix/client/v1/media/config").refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	if size := alice.get("/_matrix/client/v1/media/config").ok().at("m\\.upload\\.size").Int(); size != 10<<20 {
		t.Errorf("m.upload.size: %d", size)
	}
	alice.get("/_matrix/media/v3/config").ok()
}

// TestBeforeTheFreeze: what came while access was open stays open.
func TestBeforeTheFreeze(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *media.Options) { o.Public = true })
	alice := w.user("alice")
	old := alice.upload([]byte("old"), "text/plain", "")
	w.nobody().get(oldDownloads+old).ok().has("Content-Type", "text/plain; charset=utf-8")
	w.nobody().get(oldDownloads+old+"/a.txt").ok().has("Content-Disposition", `inline; filename="a.txt"`)
	w.media.Public = false
	fresh := alice.upload([]byte("old"), "text/plain", "") // the same content
	w.nobody().get(oldDownloads + old).ok()
	w.nobody().get(oldDownloads+fresh).refused(http.StatusNotFound, "M_NOT_FOUND")
	alice.get(downloads + fresh).ok()
}

// TestIconsAreNotFrozen: who has yet to log in sees with whom.
func TestIconsAreNotFrozen(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	icon, other := alice.upload(photo(t, 100, 100), "image/jpeg", ""), alice.upload(photo(t, 101, 100), "image/jpeg", "")
	w.media.Icons = []string{"mxc://" + icon}
	w.nobody().get(oldDownloads + icon).ok()
	w.nobody().get("/_matrix/media/v3/thumbnail/" + icon + "?width=32&height=32&method=crop").ok()
	w.nobody().get(downloads+icon).refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	w.nobody().get(oldDownloads+other).refused(http.StatusNotFound, "M_NOT_FOUND")
}

func TestNamesThatAreNone(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	for _, name := range []string{
		"example.org/..%2f..%2fetc", "127.0.0.1/..", "example.org/%2e%2e", "example.org/a%00b", "exa%20mple/abc", "example.org/" + strings.Repeat("a", 256),
		"example.org/unknown", "other.example/unknown", "example.org/a.b",
	} {
		if a := alice.get(downloads + name); a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if a := w.nobody().get(oldDownloads + name); a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *media.Options) { o.MaxUpload, o.QuotaFiles, o.QuotaBytes = 1000, 3, 2500 })
	alice, bob := w.user("alice"), w.user("bob")
	const path = "/_matrix/media/v3/upload"
	alice.do(http.MethodPost, path, bytes.NewReader(noise(1001))).refused(http.StatusRequestEntityTooLarge, "M_TOO_LARGE")
	alice.do(http.MethodPost, path, io.MultiReader(bytes.NewReader(noise(1001)))).refused(http.StatusRequestEntityTooLarge, "M_TOO_LARGE")
	if n := w.objects(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
	alice.upload(noise(1000), "a/b", "")
	second := alice.upload(noise(1000), "a/b", "")
	alice.do(http.MethodPost, path, bytes.NewReader(noise(501))).refused(http.StatusForbidden, "M_FORBIDDEN")
	alice.do(http.MethodPost, path, io.MultiReader(bytes.NewReader(noise(501)))).refused(http.StatusForbidden, "M_FORBIDDEN")
	alice.upload(noise(500), "a/b", "")
	alice.do(http.MethodPost, path, http.NoBody).refused(http.StatusForbidden, "M_FORBIDDEN") // a fourth file
	bob.upload(noise(1000), "a/b", "")
	alice.get(downloads + second).ok()
	if n := w.objects(); n != 4 {
		t.Errorf("%d objects, want 4", n)
	}
	for _, query := range []string{"?filename=" + strings.Repeat("a", 513), "?filename=a%00b", "?filename=a%0Ab", "?filename=%ff"} {
		bob.do(http.MethodPost, path+query, strings.NewReader("x")).refused(http.StatusBadRequest, "M_INVALID_PARAM")
	}
	odd := bob.upload([]byte("y"), "text/plain; charset", "?filename="+url.QueryEscape("a\uFFFD.txt"))
	bob.get(downloads+odd).ok().has("Content-Type", "text/plain; charset=utf-8", "Content-Disposition", "inline; filename*=utf-8''a%EF%BF%BD.txt")
	bob.do(http.MethodPost, path, strings.NewReader("x"), "Content-Type", "no type").refused(http.StatusBadRequest, "M_INVALID_PARAM")
}

// TestQuotaHoldsForUploadsAtOnce: however many come together, the quota is exact.
func TestQuotaHoldsForUploadsAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *media.Options) { o.QuotaFiles = 5 })
	alice := w.user("alice")
	var wait sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 12 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			a := alice.do(http.MethodPost, "/_matrix/media/v3/upload", bytes.NewReader(noise(2000)))
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		}()
	}
	wait.Wait()
	if statuses[http.StatusOK] != 5 || statuses[http.StatusForbidden] != 7 {
		t.Errorf("statuses: %v", statuses)
	}
	if n := w.objects(); n != 5 {
		t.Errorf("%d objects", n)
	}
}

func TestSameContentIsStoredOnce(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice, bob := w.user("alice"), w.user("bob")
	content := noise(10_000)
	first, second := alice.upload(content, "image/png", "?filename=a"), bob.upload(content, "text/plain", "?filename=b")
	if first == second {
		t.Fatal("two uploads have one id")
	}
	if n := w.objects(); n != 1 {
		t.Errorf("%d objects", n)
	}
	bob.get(downloads+first).ok().has("Content-Type", "image/png", "Content-Disposition", `inline; filename="a"`)
	alice.get(downloads+second).ok().has("Content-Type", "text/plain; charset=utf-8", "Content-Disposition", `inline; filename="b"`)
	// If the object is lost, an upload brings the content back.
	for info, err := range w.blobs.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.blobs.Delete(t.Context(), info.Name); err != nil {
			t.Fatal(err)
		}
	}
	bob.get(downloads+first).refused(http.StatusNotFound, "M_NOT_FOUND")
	third := bob.upload(content, "image/png", "")
	if a := alice.get(downloads + third).ok(); !bytes.Equal(a.body, content) {
		t.Error("the content is another")
	}
}

func TestUploadLater(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice, bob := w.user("alice"), w.user("bob")
	const path = "/_matrix/media/v3/upload/"
	made := alice.do(http.MethodPost, "/_matrix/media/v1/create", nil).ok()
	if ends := made.at("unused_expires_at").Int(); ends != w.time().Add(time.Hour).UnixMilli() {
		t.Errorf("unused_expires_at: %d", ends)
	}
	name := made.mxc()
	bob.get(downloads+name+"?timeout_ms=0").refused(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED")
	bob.get(downloads+name+"?timeout_ms=-1").refused(http.StatusBadRequest, "M_INVALID_PARAM")
	bob.do(http.MethodPut, path+name, strings.NewReader("x")).refused(http.StatusForbidden, "M_FORBIDDEN")
	alice.do(http.MethodPut, path+"example.org/unknown", strings.NewReader("x")).refused(http.StatusNotFound, "M_NOT_FOUND")
	alice.do(http.MethodPut, path+"other.example/unknown", strings.NewReader("x")).refused(http.StatusNotFound, "M_NOT_FOUND")

	// Someone waits while it comes.
	waiting := make(chan answer)
	go func() { waiting <- bob.get(downloads + name) }()
	content := noise(5000)
	alice.do(http.MethodPut, path+name+"?filename=later.gif", bytes.NewReader(content), "Content-Type", "image/gif").ok()
	if a := (<-waiting).ok().has("Content-Type", "image/gif", "Content-Disposition", `inline; filename="later.gif"`); !bytes.Equal(a.body, content) {
		t.Error("the content is another")
	}
	alice.do(http.MethodPut, path+name, strings.NewReader("x")).refused(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA")
	bob.do(http.MethodPut, path+name, strings.NewReader("x")).refused(http.StatusForbidden, "M_FORBIDDEN")

	// An id can be uploaded to once, also by two at a time.
	name = alice.do(http.MethodPost, "/_matrix/media/v1/create", nil).ok().mxc()
	statuses := make(chan int)
	for range 4 {
		go func() { statuses <- alice.do(http.MethodPut, path+name, bytes.NewReader(noise(100))).status }()
	}
	count := map[int]int{}
	for range 4 {
		count[<-statuses]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusConflict] != 3 {
		t.Errorf("statuses: %v", count)
	}

	// The number of those that wait is bounded, until they expire.
	for range 3 {
		name = alice.do(http.MethodPost, "/_matrix/media/v1/create", nil).ok().mxc()
	}
	if a := alice.do(http.MethodPost, "/_matrix/media/v1/create", nil).refused(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED"); a.at("retry_after_ms").Int() != time.Hour.Milliseconds() {
		t.Errorf("limit: %s", a.body)
	}
	w.advance(time.Hour)
	bob.get(downloads+name).refused(http.StatusNotFound, "M_NOT_FOUND")
	alice.do(http.MethodPut, path+name, strings.NewReader("x")).refused(http.StatusNotFound, "M_NOT_FOUND")
	alice.do(http.MethodPost, "/_matrix/media/v1/create", nil).ok()
}

// TestWhatMayRunIsNotShown (HARD_PLACES.md 38): browsers save what could run in them.
func TestWhatMayRunIsNotShown(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
	for contentType, want := range map[string][2]string{
		"image/svg+xml":             {"image/svg+xml", "attachment"},
		"text/html":                 {"text/html; charset=utf-8", "attachment"},
		"TEXT/HTML;charset=x":       {"TEXT/HTML;charset=x", "attachment"},
		"application/xhtml+xml":     {"application/xhtml+xml", "attachment"},
		"application/pdf":           {"application/pdf", "attachment"},
		"application/javascript":    {"application/javascript", "attachment"},
		"image/png":                 {"image/png", "inline"}, // a lie that nothing believes: nosniff
		"text/plain":                {"text/plain; charset=utf-8", "inline"},
		"text/plain; charset=latin": {"text/plain; charset=latin", "inline"},
		"application/json":          {"application/json", "inline"},
	} {
		name := alice.upload(svg, contentType, "")
		alice.get(downloads+name).ok().has("Content-Type", want[0], "Content-Disposition", want[1], "X-Content-Type-Options", "nosniff")
	}
	// A name does not get out of its header.
	name := alice.upload(svg, "image/png", "?filename=a%22%3B%20filename%3Db.html%5C")
	alice.get(downloads+name).ok().has("Content-Disposition", `inline; filename="a\"; filename=b.html\\"`)
}

func TestBrokenOffUploads(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alice := w.user("alice")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/_matrix/media/v3/upload",
		io.MultiReader(bytes.NewReader(noise(5000)), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+alice.token)
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Fatalf("it was answered with %s", resp.Status)
	}
	alice.upload([]byte("x"), "a/b", "") // the other one has ended by now, or leaves nothing either
	usage, _, err := schema.MediaUsages.Get(t.Context(), w.rows, schema.MediaUsage{UserID: alice.id})
	if err != nil || usage.Files != 1 || usage.Bytes != 1 {
		t.Errorf("usage: %+v, %v", usage, err)
	}
	if n := w.objects(); n != 1 {
		t.Errorf("%d objects", n)
	}
}
