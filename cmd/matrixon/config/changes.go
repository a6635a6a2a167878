package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// live are the keys, and those below them, that can change while the server runs.
var live = []string{"logging.level", "limits", "registration", "cluster.weight", "cluster.rebalance", "appservices",
	"policy_server.exempt_power", "policy_server.blocked_users", "policy_server.blocked_servers", "policy_server.blocked_types", "policy_server.blocked_text",
	"policy_server.max_text", "policy_server.max_mentions", "policy_server.rate", "policy_server.newcomers"}

// Live reports whether a key can change while the server runs.
func Live(key string) bool {
	return slices.ContainsFunc(live, func(l string) bool { return key == l || strings.HasPrefix(key, l+".") })
}

// Changed names the keys whose values differ, sorted. A list is one value.
func Changed(a, b *Config) []string {
	var keys []string
	changed(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), "", &keys)
	slices.Sort(keys)
	return keys
}

func changed(a, b reflect.Value, key string, keys *[]string) {
	if _, whole := a.Interface().(fmt.Stringer); !whole && a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			name := strings.TrimPrefix(key+"."+a.Type().Field(i).Tag.Get("yaml"), ".")
			changed(a.Field(i), b.Field(i), name, keys)
		}
		return
	}
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		*keys = append(*keys, key)
	}
}
