package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// Balancer is a load balancer as any would be: it sends each request to the next node that says it is ready.
type Balancer struct {
	URL string

	nodes  []*Node
	ready  []atomic.Bool
	next   atomic.Uint64
	server *http.Server
	stop   context.CancelFunc
}

// checkEvery is how often the balancer asks the nodes whether they are ready.
const checkEvery = 500 * time.Millisecond

// StartBalancer listens at the address.
func StartBalancer(address string, nodes []*Node) (*Balancer, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	b := &Balancer{URL: "http://" + ln.Addr().String(), nodes: nodes, ready: make([]atomic.Bool, len(nodes))}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	b.check(ctx)
	go func() {
		ticker := time.NewTicker(checkEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				b.check(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	proxies := make([]*httputil.ReverseProxy, len(nodes))
	for i, n := range nodes {
		to, err := url.Parse(n.URL)
		if err != nil {
			return nil, err
		}
		proxies[i] = httputil.NewSingleHostReverseProxy(to)
		proxies[i].ErrorHandler = func(w http.ResponseWriter, r *http.Request, _ error) {
			if r.Context().Err() == nil { // else it is the client that went away
				b.ready[i].Store(false)
			}
			http.Error(w, `{"errcode":"M_UNKNOWN","error":"the node went away"}`, http.StatusBadGateway)
		}
	}
	b.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := b.next.Add(1)
		for i := range uint64(len(nodes)) {
			if n := (first + i) % uint64(len(nodes)); b.ready[n].Load() {
				proxies[n].ServeHTTP(w, r)
				return
			}
		}
		http.Error(w, `{"errcode":"M_UNKNOWN","error":"no node is ready"}`, http.StatusServiceUnavailable)
	})}
	go b.server.Serve(ln) //nolint:errcheck // it ends with Close
	return b, nil
}

func (b *Balancer) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for i, n := range b.nodes {
		b.ready[i].Store(n.Ready(ctx) == nil)
	}
}

// Close ends it.
func (b *Balancer) Close() error {
	b.stop()
	err := b.server.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
