package consul

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/matrixon/matrixon/cluster"
)

// What operators decided stands in Consul's key-value store, below matrixon/<server name>/:
//
//	placement/<kind>/<id, escaped as in a URL>   the node's name, and " pinned" when it must stay there
//	draining/<node>                              anything

// entries are the keys, read.
type entries struct {
	overrides map[cluster.Identity]cluster.Override
	draining  map[string]bool
}

func (d *Directory) prefix() string { return "matrixon/" + url.PathEscape(d.options.ServerName) + "/" }

func drainKey(node string) string { return "draining/" + url.PathEscape(node) }

func placementKey(id cluster.Identity) string {
	return "placement/" + url.PathEscape(id.Kind) + "/" + url.PathEscape(id.ID)
}

const pinned = " pinned"

func formatOverride(o cluster.Override) string {
	if o.Pinned {
		return o.Member + pinned
	}
	return o.Member
}

func parseOverride(value string) cluster.Override {
	member, isPinned := strings.CutSuffix(value, pinned)
	return cluster.Override{Member: member, Pinned: isPinned}
}

// write sets a key, or deletes it when the value is empty.
func (d *Directory) write(ctx context.Context, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o := new(api.WriteOptions).WithContext(ctx)
	var err error
	if value == "" {
		_, err = d.client.KV().Delete(d.prefix()+key, o)
	} else {
		_, err = d.client.KV().Put(&api.KVPair{Key: d.prefix() + key, Value: []byte(value)}, o)
	}
	return err
}

// readEntries reads the keys. Those that an outage has wiped are written again.
func (d *Directory) readEntries(ctx context.Context, index uint64) (uint64, error) {
	pairs, meta, err := d.client.KV().List(d.prefix(), d.query(ctx, index))
	if err != nil {
		return 0, err
	}
	if meta.LastIndex < index {
		return meta.LastIndex, nil
	}
	found := entries{overrides: map[cluster.Identity]cluster.Override{}, draining: map[string]bool{}}
	for _, p := range pairs {
		if !found.read(strings.TrimPrefix(p.Key, d.prefix()), string(p.Value)) {
			d.log.Warn("consul has a key that says nothing", "key", p.Key)
		}
	}
	d.mu.Lock()
	d.answers(time.Now())
	lost := d.entries
	restoring := d.hasEntries && meta.LastIndex < d.keyIndex
	d.keyIndex = meta.LastIndex
	if restoring { // Consul has begun anew: what is missing was not taken away but forgotten
		lost = lost.without(found)
		found.add(lost)
	}
	d.entries, d.hasEntries = found, true
	d.mu.Unlock()
	if restoring {
		d.restore(ctx, lost)
	}
	return meta.LastIndex, nil
}

// read takes in one key.
func (e entries) read(key, value string) bool {
	if node, ok := strings.CutPrefix(key, "draining/"); ok {
		name, err := url.PathUnescape(node)
		if err == nil {
			e.draining[name] = true
		}
		return err == nil
	}
	rest, ok := strings.CutPrefix(key, "placement/")
	kind, id, both := strings.Cut(rest, "/")
	if !ok || !both || value == "" {
		return false
	}
	kind, err := url.PathUnescape(kind)
	if err != nil {
		return false
	}
	id, err = url.PathUnescape(id)
	if err != nil {
		return false
	}
	e.overrides[cluster.Identity{Kind: kind, ID: id}] = parseOverride(value)
	return true
}

// without is what e has and other lacks.
func (e entries) without(other entries) entries {
	left := entries{overrides: maps.Clone(e.overrides), draining: maps.Clone(e.draining)}
	for id := range other.overrides {
		delete(left.overrides, id)
	}
	for node := range other.draining {
		delete(left.draining, node)
	}
	return left
}

func (e entries) add(other entries) {
	maps.Copy(e.overrides, other.overrides)
	maps.Copy(e.draining, other.draining)
}

// restore writes what Consul has forgotten, unless somebody has written something newer.
func (d *Directory) restore(ctx context.Context, lost entries) {
	create := func(key, value string) {
		o := new(api.WriteOptions).WithContext(ctx)
		if _, _, err := d.client.KV().CAS(&api.KVPair{Key: d.prefix() + key, Value: []byte(value)}, o); err != nil {
			d.log.Warn("a key could not be restored in consul", "key", key, "error", err)
		}
	}
	for id, o := range lost.overrides {
		create(placementKey(id), formatOverride(o))
	}
	for node := range lost.draining {
		create(drainKey(node), "draining")
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
