package api_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/matrixon/matrixon/http/api"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.periodicCleanUp[...]"))
}

// listen serves an API with an operator's endpoints and one that waits for the end.
func listen(t *testing.T, listeners ...api.Listener) (s *api.Server, waiting chan struct{}, served chan error) {
	t.Helper()
	waiting = make(chan struct{}, 1)
	registry := prometheus.NewRegistry()
	a := api.New(api.Options{Log: quiet(), Metrics: registry})
	a.AddOperator(api.Operator{ServerName: "<example.org>", Version: "1", Gatherer: registry})
	a.Add(api.Client, api.Endpoint{Methods: []string{"GET"}, Path: "/wait/{id}", Handler: func(r *api.Request) (any, error) {
		drained := make(chan struct{})
		defer r.OnDrain(func() { close(drained) })()
		waiting <- struct{}{}
		select {
		case <-drained:
			return map[string]bool{"drained": true}, nil
		case <-r.Ctx.Done():
			return nil, r.Ctx.Err()
		}
	}})
	a.Add(api.Client, api.Endpoint{Methods: []string{"GET"}, Path: "/large", Handler: func(*api.Request) (any, error) {
		return map[string]string{"text": strings.Repeat("matrix ", 1000)}, nil
	}})
	s, err := api.Listen(a, listeners...)
	if err != nil {
		t.Fatal(err)
	}
	served = make(chan error, 1)
	go func() { served <- s.Serve() }()
	return s, waiting, served
}

func shutdown(t *testing.T, s *api.Server, served chan error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func fetch(t *testing.T, c *http.Client, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw), resp.Header
}

func TestListenersServeTheirParts(t *testing.T) {
	t.Parallel()
	s, _, served := listen(t,
		api.Listener{Address: "127.0.0.1:0", Serves: []api.Part{api.Client}},
		api.Listener{Address: "127.0.0.1:0", Serves: []api.Part{api.Metrics}},
	)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client, metrics := "http://"+s.Addresses()[0].String(), "http://"+s.Addresses()[1].String()
	if status, body, h := fetch(t, c, client+"/"); status != 200 || !strings.Contains(body, "&lt;example.org&gt;") || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		t.Errorf("front page: %d %s", status, body)
	}
	for _, url := range []string{client + "/_matrixon/health", metrics + "/_matrixon/health", client + "/_matrixon/ready"} {
		if status, body, _ := fetch(t, c, url); status != 200 {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	if status, _, _ := fetch(t, c, client+"/metrics"); status != 404 {
		t.Errorf("metrics where they are not served: %d", status)
	}
	if status, _, _ := fetch(t, c, metrics+"/"); status != 404 {
		t.Errorf("the front page where it is not served: %d", status)
	}
	fetch(t, c, client+"/nonsense/made/up")
	_, body, _ := fetch(t, c, metrics+"/metrics")
	for _, want := range []string{
		`matrixon_http_request_seconds_count{method="GET",route="/_matrixon/health",status="2xx"} 2`,
		`matrixon_http_request_seconds_count{method="GET",route="unknown",status="4xx"}`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(body, "nonsense") {
		t.Error("metrics are labelled by what strangers ask for")
	}
	shutdown(t, s, served)
}

func TestShutdownEndsLongPolls(t *testing.T) {
	t.Parallel()
	s, waiting, served := listen(t, api.Listener{Address: "127.0.0.1:0", Serves: []api.Part{api.Client}})
	conn, err := net.Dial("tcp", s.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /wait/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	<-waiting
	ended := make(chan struct{})
	go func() { defer close(ended); shutdown(t, s, served) }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `{"drained":true}` {
		t.Errorf("%s %v", body, err)
	}
	<-ended
}

func TestCompression(t *testing.T) {
	t.Parallel()
	s, _, served := listen(t, api.Listener{Address: "127.0.0.1:0", Serves: []api.Part{api.Client}})
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	url := "http://" + s.Addresses()[0].String()
	_, body, h := fetch(t, c, url+"/large", "Accept-Encoding", "gzip")
	if h.Get("Content-Encoding") != "gzip" || len(body) > 1000 {
		t.Errorf("%v, %d bytes", h, len(body))
	}
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(z); err != nil || len(raw) < 7000 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if _, body, h := fetch(t, c, url+"/large"); h.Get("Content-Encoding") != "" || len(body) < 7000 {
		t.Errorf("%v, %d bytes", h, len(body))
	}
	if _, _, h := fetch(t, c, url+"/_matrixon/health", "Accept-Encoding", "gzip"); h.Get("Content-Encoding") != "" || h.Get("Content-Length") != "15" {
		t.Errorf("a short answer: %v", h)
	}
	shutdown(t, s, served)
}

func TestTLSListenerTakesRenewedCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := api.Listener{Address: "127.0.0.1:0", Serves: []api.Part{api.Client}, Certificate: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key")}
	if _, err := api.Listen(api.New(api.Options{Log: quiet()}), l); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the files: %v", err)
	}
	pool := certificate(t, l)
	s, _, served := listen(t, l)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	if status, _, _ := fetch(t, c, "https://"+s.Addresses()[0].String()+"/_matrixon/health"); status != 200 {
		t.Errorf("%d", status)
	}
	// Another certificate takes its place at once; one that is broken does not.
	renewed := certificate(t, l)
	c.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: renewed}, DisableKeepAlives: true}
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Certificate, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(); err == nil {
		t.Error("a broken certificate is taken")
	}
	if status, _, _ := fetch(t, c, "https://"+s.Addresses()[0].String()+"/_matrixon/health"); status != 200 {
		t.Errorf("%d", status)
	}
	shutdown(t, s, served)
}

// certificate writes a certificate for 127.0.0.1 and gives the pool that trusts it.
func certificate(t *testing.T, l api.Listener) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, content := range map[string][]byte{l.Certificate: crt, l.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(crt)
	return pool
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	ip := func(r *api.Request) (any, error) { return map[string]string{"ip": r.IP()}, nil }
	e := api.Endpoint{Methods: []string{"GET"}, Path: "/ip", Handler: ip}
	trusting := serve(t, api.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}}, e)
	plain := serve(t, api.Options{}, e)
	tests := []struct{ forwarded, want string }{
		{"", "127.0.0.1"},
		{"203.0.113.7", "203.0.113.7"},
		{"198.51.100.1, 203.0.113.7", "203.0.113.7"},
		{"203.0.113.7, 10.1.2.3", "203.0.113.7"},
		{"::ffff:203.0.113.7", "203.0.113.7"},
		{"nonsense", "127.0.0.1"},
		{"203.0.113.7, nonsense, 10.1.1.1", "10.1.1.1"},
	}
	for _, tt := range tests {
		if got := call(t, trusting, "GET", "/ip", "", "X-Forwarded-For", tt.forwarded); got.body["ip"] != tt.want {
			t.Errorf("%q: %s, want %s", tt.forwarded, got.raw, tt.want)
		}
		if got := call(t, plain, "GET", "/ip", "", "X-Forwarded-For", tt.forwarded); got.body["ip"] != "127.0.0.1" {
			t.Errorf("%q believed without trust: %s", tt.forwarded, got.raw)
		}
	}
}

func TestQueryParameters(t *testing.T) {
	t.Parallel()
	s := serve(t, api.Options{}, api.Endpoint{Methods: []string{"GET"}, Path: "/q", Handler: func(r *api.Request) (any, error) {
		n, err := r.Int("n", 7, 0, 100)
		if err != nil {
			return nil, err
		}
		b, err := r.Bool("b", true)
		if err != nil {
			return nil, err
		}
		e, err := r.Enum("e", "x", "x", "y")
		if err != nil {
			return nil, err
		}
		need, err := r.Need("need")
		return map[string]any{"n": n, "b": b, "e": e, "need": need}, err
	}})
	good := map[string]string{
		"need=a":                  `{"b":true,"e":"x","n":7,"need":"a"}`,
		"need=a%2Fb&n=5&b=false":  `{"b":false,"e":"x","n":5,"need":"a/b"}`,
		"need=a&n=5000&e=y&x=%zz": `{"b":true,"e":"y","n":100,"need":"a"}`,
	}
	for q, want := range good {
		if got := call(t, s, "GET", "/q?"+q, ""); got.raw != want {
			t.Errorf("%s: %s", q, got.raw)
		}
	}
	for q, code := range map[string]string{
		"": "M_MISSING_PARAM", "need=%ff": "M_MISSING_PARAM", "need=a%00": "M_MISSING_PARAM",
		"need=a&n=x": "M_INVALID_PARAM", "need=a&n=-1": "M_INVALID_PARAM", "need=a&n=1.5": "M_INVALID_PARAM",
		"need=a&n=99999999999999999999": "M_INVALID_PARAM", "need=a&b=1": "M_INVALID_PARAM", "need=a&e=z": "M_INVALID_PARAM",
	} {
		if got := call(t, s, "GET", "/q?"+q, ""); got.status != 400 || got.body["errcode"] != code {
			t.Errorf("%s: %d %s", q, got.status, got.raw)
		}
	}
}

func TestSlowBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t, api.Options{BodyTimeout: 20 * time.Millisecond},
		api.Endpoint{Methods: []string{"POST"}, Path: "/small", Handler: func(r *api.Request) (any, error) { return r.Object() }},
		api.Endpoint{Methods: []string{"POST"}, Path: "/large", MaxBody: 1 << 20, Handler: func(r *api.Request) (any, error) {
			n, err := io.Copy(io.Discard, r.Stream())
			return map[string]int64{"bytes": n}, err
		}},
	)
	for path, want := range map[string]int{"/small": 408, "/large": 408, "/unknown": 404} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if got := call(t, s, "POST", "/large", strings.Repeat("x", 1<<20)); got.raw != `{"bytes":1048576}` {
		t.Errorf("%s", got.raw)
	}
	if got := call(t, s, "POST", "/large", strings.Repeat("x", 1<<20+1)); got.status != 413 || got.body["errcode"] != "M_TOO_LARGE" {
		t.Errorf("%d %s", got.status, got.raw)
	}
}
