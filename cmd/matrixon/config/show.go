package config

import (
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml"
)

// YAML writes the configuration as a file that Load understands, with a mask in place of each secret.
func (c *Config) YAML() ([]byte, error) {
	return yaml.MarshalWithOptions(plain(reflect.ValueOf(c).Elem()), yaml.Indent(2), yaml.IndentSequence(true))
}

// plain turns a value into what YAML knows, with keys in the order of the fields.
func plain(v reflect.Value) any {
	if value, ok := v.Interface().(fmt.Stringer); ok { // secrets hide themselves; sizes and durations read as written
		return value.String()
	}
	switch v.Kind() {
	case reflect.Struct:
		pairs := make(yaml.MapSlice, v.NumField())
		for i := range pairs {
			pairs[i] = yaml.MapItem{Key: v.Type().Field(i).Tag.Get("yaml"), Value: plain(v.Field(i))}
		}
		return pairs
	case reflect.Slice:
		values := make([]any, v.Len())
		for i := range values {
			values[i] = plain(v.Index(i))
		}
		return values
	}
	return v.Interface()
}
