package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
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

// checkEvery is how often the balancer asks each node whether it is ready, and checkWithin how long it waits for the answer. No answer
// that often, one after the other, means that the node is gone: a busy machine is late at times.
const (
	checkEvery  = 500 * time.Millisecond
	checkWithin = time.Second
	silences    = 3
)

// StartBalancer listens at the address.
func StartBalancer(address string, nodes []*Node) (*Balancer, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	b := &Balancer{URL: "http://" + ln.Addr().String(), nodes: nodes, ready: make([]atomic.Bool, len(nodes))}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	var first sync.WaitGroup
	for i := range nodes {
		first.Add(1)
		go b.watch(ctx, i, sync.OnceFunc(first.Done))
	}
	first.Wait()
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

// watch asks one node again and again, and calls asked each time it knows more.
func (b *Balancer) watch(ctx context.Context, i int, asked func()) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for silent := 0; ; {
		within, cancel := context.WithTimeout(ctx, checkWithin)
		err := b.nodes[i].Ready(within)
		if errors.Is(err, context.DeadlineExceeded) {
			silent++
		} else {
			silent = 0
		}
		cancel()
		if silent == 0 || silent >= silences {
			b.ready[i].Store(err == nil)
		}
		asked()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
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
