package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/matrixon/matrixon/http/api"
)

// speak makes a request with a client that speaks these protocols only.
func speak(t *testing.T, url string, encoding string, protocols func(*http.Protocols)) *http.Response {
	t.Helper()
	p := new(http.Protocols)
	protocols(p)
	transport := &http.Transport{Protocols: p, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if encoding != "" {
		req.Header.Set("Accept-Encoding", encoding)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// A proxy may speak HTTP/2 without TLS, and whoever asks for zstd gets it.
func TestProtocolsAndEncodings(t *testing.T) {
	t.Parallel()
	s, _, served := listen(t, api.Listener{Address: "127.0.0.1:0", Serves: []api.Part{api.Client}})
	url := "http://" + s.Addresses()[0].String() + "/large"
	plain := func(p *http.Protocols) { p.SetHTTP1(true) }
	h2c := func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
	for _, c := range []struct {
		protocols func(*http.Protocols)
		major     int
		accept    string
		encoding  string
	}{
		{plain, 1, "", ""}, {plain, 1, "zstd", "zstd"}, {plain, 1, "gzip, deflate, br, zstd", "zstd"}, {plain, 1, "gzip;q=1, zstd;q=0.5", "gzip"}, {plain, 1, "br", ""},
		{h2c, 2, "", ""}, {h2c, 2, "gzip", "gzip"}, {h2c, 2, "zstd", "zstd"},
	} {
		resp := speak(t, url, c.accept, c.protocols)
		if resp.ProtoMajor != c.major || resp.Header.Get("Content-Encoding") != c.encoding {
			t.Errorf("%q over HTTP/%d: HTTP/%d %v", c.accept, c.major, resp.ProtoMajor, resp.Header)
		}
		if c.encoding == "zstd" {
			body, err := zstd.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if raw, err := io.ReadAll(body); err != nil || !strings.HasPrefix(string(raw), `{"text":"matrix `) {
				t.Errorf("%.40s %v", raw, err)
			}
			body.Close()
		}
		if resp.Header.Get("Server-Timing") != "" {
			t.Error("the time is told although nobody has asked for it")
		}
	}
	shutdown(t, s, served)
}

func TestServerTiming(t *testing.T) {
	t.Parallel()
	one := api.Endpoint{Methods: []string{"GET"}, Path: "/one/{id}", Handler: func(*api.Request) (any, error) { return nil, nil }}
	s := serve(t, api.Options{ServerTiming: true}, one)
	for _, path := range []string{"/one/x", "/nowhere"} {
		if got := call(t, s, http.MethodGet, path, "").header.Get("Server-Timing"); !strings.HasPrefix(got, "total;dur=") {
			t.Errorf("%s: %q", path, got)
		}
	}
}
