package outbound

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "172.15.0.1": true, "172.32.0.1": true, "100.63.0.1": true, "2606:4700::1": true, "2a00::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "127.0.0.1": false, "127.255.255.255": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "198.18.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "::": false, "::1": false, "::127.0.0.1": false, "::ffff:127.0.0.1": false,
		"::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "fc00::1": false, "fd12::1": false,
		"fe80::1": false, "ff02::1": false, "2001:db8::1": false, "2001::1": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func get(t *testing.T, c *http.Client, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

func TestPrivateAddressesAreNotReached(t *testing.T) {
	t.Parallel()
	reached := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	c := Client(Policy{Redirects: 3, Timeout: 5 * time.Second})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]"} {
		if err := get(t, c, "http://"+host+port); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
}

// TestRedirects: each is checked like the first address.
func TestRedirects(t *testing.T) {
	t.Parallel()
	agents := make(chan string, 10)
	mux := http.NewServeMux()
	public := httptest.NewServer(mux)
	defer public.Close()
	redirect := func(path, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	redirect("/private", "http://10.0.0.1/")
	redirect("/metadata", "http://169.254.169.254/latest/meta-data")
	redirect("/file", "file:///etc/passwd")
	redirect("/password", "http://a:b@"+public.Listener.Addr().String()+"/end")
	redirect("/loop", "/loop")
	redirect("/good", "/end")
	mux.HandleFunc("/end", func(_ http.ResponseWriter, r *http.Request) { agents <- r.UserAgent() })
	c := Client(Policy{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Redirects: 3, Timeout: 5 * time.Second, UserAgent: "tester"})
	for _, path := range []string{"/private", "/metadata", "/file", "/password"} {
		if err := get(t, c, public.URL+path); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := get(t, c, public.URL+"/loop"); err == nil || errors.Is(err, ErrForbidden) {
		t.Errorf("a loop: %v", err)
	}
	if err := get(t, c, public.URL+"/good"); err != nil || <-agents != "tester" {
		t.Errorf("a good one: %v", err)
	}
}
