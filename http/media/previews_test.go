package media_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/media"
	"github.com/matrixon/matrixon/http/media/preview"
	"github.com/matrixon/matrixon/http/outbound"
)

const previews = "/_matrix/client/v1/media/preview_url?url="

// web is a web server on this machine, and a world that may reach it.
func web(t *testing.T, pages http.Handler, allow ...string) (*world, string) {
	t.Helper()
	server := httptest.NewServer(pages)
	t.Cleanup(server.Close)
	var networks []netip.Prefix
	for _, n := range allow {
		networks = append(networks, netip.MustParsePrefix(n))
	}
	fetcher := preview.NewFetcher(outbound.Policy{AllowNetworks: networks, UserAgent: "tester"})
	t.Cleanup(fetcher.Close)
	return start(t, func(o *media.Options) { o.Pages, o.PreviewLifetime = fetcher, time.Hour }), server.URL
}

func page(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, text)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	var fetched atomic.Int32
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		page(`<title>x</title><meta property="og:title" content="Title"><meta property="og:image" content="/pic"><meta property="og:image:width" content="1">
			<link rel=alternate type=application/json+oembed href=/oembed>`)(w, r)
	})
	mux.HandleFunc("/oembed", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"provider_name":"Site"}`) })
	mux.HandleFunc("/pic", func(w http.ResponseWriter, _ *http.Request) { w.Write(photo(t, 120, 80)) }) //nolint:errcheck // the test sees it
	mux.HandleFunc("/lie", page(`<title>T</title><meta property="og:image" content="/page">`))
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "just text") })
	w, at := web(t, mux, "127.0.0.0/8")
	alice := w.user("alice")
	var wait sync.WaitGroup
	for range 5 { // they share the work
		wait.Add(1)
		go func() {
			defer wait.Done()
			alice.get(previews + url.QueryEscape(at+"/page#part")).ok()
		}()
	}
	wait.Wait()
	a := alice.get("/_matrix/media/v3/preview_url?ts=1&url=" + url.QueryEscape(at+"/page")).ok()
	if fetched.Load() != 1 {
		t.Errorf("the page was fetched %d times", fetched.Load())
	}
	for path, want := range map[string]string{
		"og:title": "Title", "og:site_name": "Site", "og:image:type": "image/jpeg", "og:image:width": "120", "og:image:height": "80",
		"matrix:image:size": fmt.Sprint(len(photo(t, 120, 80))),
	} {
		if got := a.at(path).String(); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	name, _ := strings.CutPrefix(a.at("og:image").Str, "mxc://")
	if got := alice.get(downloads+name).ok().has("Content-Type", "image/jpeg"); !bytes.Equal(got.body, photo(t, 120, 80)) {
		t.Error("the picture is another")
	}
	w.advance(time.Hour)
	alice.get(previews + url.QueryEscape(at+"/page")).ok()
	if fetched.Load() != 2 {
		t.Errorf("after an hour it was fetched %d times", fetched.Load())
	}

	if a := alice.get(previews + url.QueryEscape(at+"/lie")).ok(); a.at("og:title").Str != "T" || a.at("og:image").Exists() {
		t.Errorf("a page as picture: %s", a.body)
	}
	if a := alice.get(previews + url.QueryEscape(at+"/text")).ok(); string(a.body) != "{}" {
		t.Errorf("text: %s", a.body)
	}
	if a := alice.get(previews + url.QueryEscape(at+"/pic")).ok(); a.at("og:image:width").Int() != 120 {
		t.Errorf("a picture: %s", a.body)
	}
	alice.get(previews+url.QueryEscape(at+"/nowhere")).refused(http.StatusBadGateway, "M_UNKNOWN")
	alice.get(previews+url.QueryEscape(at+"/nowhere")).refused(http.StatusBadGateway, "M_UNKNOWN")
	w.nobody().get(previews+url.QueryEscape(at+"/page")).refused(http.StatusUnauthorized, "M_MISSING_TOKEN")
	alice.get("/_matrix/client/v1/media/preview_url").refused(http.StatusBadRequest, "M_MISSING_PARAM")
	for _, wrong := range []string{"file:///etc/passwd", "gopher://a", "http://", "https:x", "//a.b", "x", "http://u:p@" + at[len("http://"):], "http://a.example/" + strings.Repeat("x", 5000), "http://[::1"} {
		alice.get(previews+url.QueryEscape(wrong)).refused(http.StatusBadRequest, "M_INVALID_PARAM")
	}
}

// TestPreviewsStayOutOfPrivateNetworks: neither the address, nor its name, nor a redirect, nor the picture of a page leads there.
func TestPreviewsStayOutOfPrivateNetworks(t *testing.T) {
	t.Parallel()
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the private server was reached") }))
	t.Cleanup(secret.Close)
	port := secret.URL[strings.LastIndex(secret.URL, ":"):]

	w, at := web(t, page("<title>x</title>"))
	alice := w.user("alice")
	for _, private := range []string{
		secret.URL, at, "http://localhost" + port, "http://127.1" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port, "http://[::1]" + port,
		"http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://192.168.1.1/",
	} {
		a := alice.get(previews + url.QueryEscape(private))
		if a.status != http.StatusForbidden && a.status != http.StatusBadGateway { // a form of address that is none
			t.Errorf("%s: %d %s", private, a.status, a.body)
		}
	}
	alice.get(previews+url.QueryEscape(secret.URL)).refused(http.StatusForbidden, "M_FORBIDDEN")

	// A server that may be reached, on another address than the secret one.
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secret.URL, http.StatusFound) })
	mux.HandleFunc("/picture", page(`<title>T</title><meta property="og:image" content="`+secret.URL+`/x.png">`))
	mux.HandleFunc("/oembed", page(`<title>T</title><link rel=alternate type=application/json+oembed href="`+secret.URL+`/o">`))
	public := httptest.NewUnstartedServer(mux)
	if err := public.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if public.Listener, err = net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Fatal(err)
	}
	public.Start()
	t.Cleanup(public.Close)
	w, _ = web(t, mux, "127.0.0.2/32")
	alice = w.user("alice")
	alice.get(previews+url.QueryEscape(public.URL+"/redirect")).refused(http.StatusForbidden, "M_FORBIDDEN")
	for _, path := range []string{"/picture", "/oembed"} {
		if a := alice.get(previews + url.QueryEscape(public.URL+path)).ok(); a.at("og:title").Str != "T" || a.at("og:image").Exists() {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

// TestEndlessPages: streams, bombs and redirects without end are cut off.
func TestEndlessPages(t *testing.T) {
	t.Parallel()
	block := []byte(strings.Repeat("<p>text ", 1000))
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	var bomb bytes.Buffer // a member of a gzip file, which may have many
	z := gzip.NewWriter(&bomb)
	fmt.Fprint(z, "<title>T</title>", strings.Repeat("\x00", 1<<20))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	member := bomb.Bytes()
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>T</title>")
		endless(w, r)
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		for r.Context().Err() == nil {
			if _, err := w.Write(member); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/picture", page(`<title>T</title><meta property="og:image" content="/endless.png">`))
	mux.HandleFunc("/endless.png", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		endless(w, r)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	w, at := web(t, mux, "127.0.0.0/8")
	alice := w.user("alice")
	for _, path := range []string{"/page", "/bomb", "/picture"} {
		if a := alice.get(previews + url.QueryEscape(at+path)).ok(); a.at("og:title").Str != "T" || a.at("og:image").Exists() {
			t.Errorf("%s: %.200s", path, a.body)
		}
	}
	alice.get(previews+url.QueryEscape(at+"/loop")).refused(http.StatusBadGateway, "M_UNKNOWN")
	if n := w.objects(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
