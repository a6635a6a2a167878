package room

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// relationOf is the row of an event that relates to another (client-server API, "Forming relationships between
// events"). A reply alone is not one.
func relationOf(e *Entry) (RelationRow, bool) {
	relation := gjson.GetBytes(e.Event.Content(), `m\.relates_to`)
	relType, parent := relation.Get("rel_type"), relation.Get("event_id")
	if relType.Type != gjson.String || relType.Str == "" || parent.Type != gjson.String || !id.ValidEventID(parent.Str) {
		return RelationRow{}, false
	}
	if len(relType.Str) > maxRelationBytes {
		return RelationRow{}, false
	}
	row := RelationRow{
		ParentID: parent.Str, EventID: e.Event.ID(), RelType: relType.Str, Type: e.Event.Type(), Sender: e.Event.Sender(), Seq: e.Seq,
	}
	if key := relation.Get("key"); relType.Str == "m.annotation" && key.Type == gjson.String {
		row.Key = key.Str
	}
	return row, true
}

// maxRelationBytes bounds the relation types that are indexed.
const maxRelationBytes = 255

// relate notes what the event relates to.
func (d *draft) relate(e *Entry) {
	relation, ok := relationOf(e)
	if !ok || e.Event.IsState() {
		return
	}
	d.relations = append(d.relations, relation)
	if relation.RelType == "m.annotation" {
		d.noteAnnotation(relation.annotationKey(), true)
	}
}

func (r RelationRow) annotationKey() AnnotationKey {
	return AnnotationKey{ParentID: r.ParentID, Sender: r.Sender, Type: r.Type, Key: r.Key}
}

func (d *draft) noteAnnotation(key AnnotationKey, exists bool) {
	if d.annotations == nil {
		d.annotations = map[AnnotationKey]bool{}
	}
	d.annotations[key] = exists
}

// refuseSecondAnnotation refuses an annotation that the sender has made already (client-server API, "Avoiding duplicate
// annotations").
func (d *draft) refuseSecondAnnotation(p Proposal) error {
	relation := gjson.GetBytes(p.Content, `m\.relates_to`)
	if relation.Get("rel_type").Str != "m.annotation" {
		return nil
	}
	key := AnnotationKey{ParentID: relation.Get("event_id").Str, Sender: p.Sender, Type: p.Type, Key: relation.Get("key").Str}
	exists, known := d.m.cache.annotation(key)
	if !known {
		d.need.Annotations = append(d.need.Annotations, key)
		return errMissing
	}
	if exists {
		return mxerr.New(400, "M_DUPLICATE_ANNOTATION", "%s has annotated %s with %q already", key.Sender, key.ParentID, key.Key)
	}
	return nil
}
