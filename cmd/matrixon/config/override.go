package config

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	variablePrefix = "MATRIXON_"
	fileVariable   = variablePrefix + "CONFIG"
)

// serviceLink matches the variables that Kubernetes and Docker set in every container for a service named matrixon.
var serviceLink = regexp.MustCompile(`^MATRIXON_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

// environ binds the variables, those of a key before those of what lies below it.
func (b *binder) environ(environ []string) {
	type override struct {
		name, value string
		keys        []string
	}
	var overrides []override
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(name, variablePrefix)
		if !ok || name == fileVariable || serviceLink.MatchString(name) {
			continue
		}
		overrides = append(overrides, override{name, value, strings.Split(strings.ToLower(rest), "__")})
	}
	slices.SortFunc(overrides, func(a, b override) int { return slices.CompareFunc(a.keys, b.keys, compareKeys) })
	for _, o := range overrides {
		b.override(o.keys, o.name, o.value)
	}
}

// compareKeys orders the indices of a list as numbers, so that a list grows in order.
func compareKeys(a, b string) int {
	i, errA := strconv.Atoi(a)
	j, errB := strconv.Atoi(b)
	if errA == nil && errB == nil {
		return i - j
	}
	return strings.Compare(a, b)
}

// flags binds what --set says, in the order given.
func (b *binder) flags(set []string) {
	for _, flag := range set {
		key, value, ok := strings.Cut(flag, "=")
		if !ok || key == "" {
			b.fail("--set "+key, "", "write --set key=value")
			continue
		}
		b.override(strings.Split(key, "."), "--set "+key, value)
	}
}

func (b *binder) override(keys []string, where, value string) {
	path := strings.Join(keys, ".")
	v, err := resolve(reflect.ValueOf(b.config).Elem(), keys)
	if err != nil {
		b.fail(where, path, "%s", err)
		return
	}
	b.text(path, where, value, v)
}

// resolve finds the value at a path. A list grows by one when the index is its length.
func resolve(v reflect.Value, keys []string) (reflect.Value, error) {
	for _, key := range keys {
		switch {
		case v.Kind() == reflect.Struct && !isScalar(v):
			field, ok := fieldByKey(v, key)
			if !ok {
				return v, errors.New(unknownKey(key, keysOf(v)))
			}
			v = field
		case v.Kind() == reflect.Slice && !isScalar(v):
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i > v.Len() {
				return v, errors.New("the list has " + strconv.Itoa(v.Len()) + " entries, counted from 0; " + strconv.Quote(key) + " is none of them, nor the next")
			}
			if i == v.Len() {
				v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			}
			v = v.Index(i)
		default:
			return v, errors.New("a single value has no key " + strconv.Quote(key))
		}
	}
	return v, nil
}
