package verdict

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// longest is the length of the longest text of a message, or of what it replaces another with.
func longest(content gjson.Result) int {
	n := 0
	for _, path := range [...]string{"body", "m\\.new_content.body"} {
		n = max(n, len(content.Get(path).String()))
	}
	return n
}

// pill is a link to a user, as clients wrote mentions before there were m.mentions.
var pill = regexp.MustCompile(`(?i)https://matrix\.to/#/(?:@|%40)[^"'<>\s?]+`)

// mentions counts the users whom a message mentions: those that it says it does, or those that its text links to. The whole room is one.
func mentions(content gjson.Result) int {
	said := map[string]bool{}
	n := 0
	for _, path := range [...]string{"m\\.mentions", "m\\.new_content.m\\.mentions"} {
		list := content.Get(path)
		for _, user := range list.Get("user_ids").Array() {
			said[user.String()] = true
		}
		if list.Get("room").IsBool() && list.Get("room").Bool() {
			n = 1
		}
	}
	linked := map[string]bool{}
	for _, path := range [...]string{"formatted_body", "m\\.new_content.formatted_body"} {
		for _, link := range pill.FindAllString(content.Get(path).String(), -1) {
			linked[strings.ToLower(link)] = true
		}
	}
	return n + max(len(said), len(linked))
}

// forbidden reports whether a pattern matches a text somewhere in the content, whatever field it is in. What is encrypted is no text.
func (r *Rules) forbidden(typ string, content gjson.Result) bool {
	return len(r.Text) > 0 && typ != "m.room.encrypted" && r.holds(content)
}

func (r *Rules) holds(v gjson.Result) bool {
	switch {
	case v.Type == gjson.String:
		return slices.ContainsFunc(r.Text, func(pattern *regexp.Regexp) bool { return pattern.MatchString(v.Str) })
	case !v.IsObject() && !v.IsArray():
		return false
	}
	found := false
	v.ForEach(func(_, value gjson.Result) bool {
		found = r.holds(value)
		return !found
	})
	return found
}
