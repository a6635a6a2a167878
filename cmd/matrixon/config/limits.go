package config

import "reflect"

// Rates are the limits by kind of action, under the names they have in the file, whether they are enabled or not.
func (l Limits) Rates() map[string]Rate {
	rates := map[string]Rate{}
	v := reflect.ValueOf(l)
	for i := range v.NumField() {
		if rate, ok := v.Field(i).Interface().(Rate); ok {
			rates[v.Type().Field(i).Tag.Get("yaml")] = rate
		}
	}
	return rates
}
