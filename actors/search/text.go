package search

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The keys under which texts are found (client-server API, "Server Side Search").
const (
	KeyBody  = "content.body"
	KeyName  = "content.name"
	KeyTopic = "content.topic"
)

// Keys are all of them.
var Keys = []string{KeyBody, KeyName, KeyTopic}

// Text gives the key and the text by which an event is found; nothing for those that clients do not see, and for what has been
// redacted.
func Text(row *schema.Event) (key, text string) {
	if row.Status != schema.Accepted || row.RedactedBy != "" {
		return "", ""
	}
	content := func(path string) string {
		if v := gjson.GetBytes(row.JSON, path); v.Type == gjson.String {
			return v.Str
		}
		return ""
	}
	switch {
	case row.Type == "m.room.message" && row.StateKey == nil:
		return KeyBody, content("content.body")
	case row.Type == "m.room.name" && row.StateKey != nil && *row.StateKey == "":
		return KeyName, content("content.name")
	case row.Type == "m.room.topic" && row.StateKey != nil && *row.StateKey == "":
		return KeyTopic, content("content.topic") + plainTopic(row)
	}
	return "", ""
}

// plainTopic is the topic in plain text from among its representations, which may be another.
func plainTopic(row *schema.Event) string {
	plain := ""
	gjson.GetBytes(row.JSON, `content.m\.topic.m\.text`).ForEach(func(_, text gjson.Result) bool {
		if mime := text.Get("mimetype"); !mime.Exists() || mime.Str == "text/plain" {
			plain = " " + text.Get("body").String()
		}
		return plain == ""
	})
	return plain
}

// Document is what the index holds of an event; ok is false when it holds nothing.
func Document(row *schema.Event) (t persistence.Text, ok bool) {
	key, text := Text(row)
	tokens := words.Index(text)
	if len(tokens) == 0 {
		return t, false
	}
	return persistence.Text{TextRef: persistence.TextRef{RoomID: row.RoomID, Seq: row.Seq}, Key: key, Sender: row.Sender,
		TS: row.OriginServerTS, Tokens: tokens}, true
}
