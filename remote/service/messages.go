package service

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"chatfs/internal/entity"
)

// maxRecipients bounds a message's to, as the service's documents do.
const maxRecipients = 600

// maxMessage bounds body and ext together, in bytes, as the service's documents
// do: each recipient's copy is kept. maxName bounds a name.
const (
	maxMessage = 5 << 10
	maxName    = 128
)

// A message is what is posted to be sent.
type message struct {
	From string          `json:"from"`
	To   []string        `json:"to"`
	Type string          `json:"type"`
	Body map[string]any  `json:"body"`
	Ext  json.RawMessage `json:"ext"`
}

// messageRecord is a message as the history has it, one a recipient.
type messageRecord struct {
	ID        string         `json:"msg_id"`
	Timestamp int64          `json:"timestamp"` // ms
	Direction string         `json:"direction"`
	From      string         `json:"from"`
	To        string         `json:"to"`
	ChatType  string         `json:"chat_type"`
	Payload   messagePayload `json:"payload"`
}

type messagePayload struct {
	Bodies []map[string]any `json:"bodies"`
	Ext    json.RawMessage  `json:"ext"`
	From   string           `json:"from"`
	To     string           `json:"to"`
}

// fileBodies are the types whose body leads to a file.
var fileBodies = map[string]bool{"img": true, "audio": true, "video": true, "file": true}

// sendMessage answers POST /messages/users and its like: nobody is sent
// anything, but the hour's history has it from now on.
func (s *Service) sendMessage(chatType string) handler {
	return func(w http.ResponseWriter, r *http.Request) *failure {
		var m message
		if f := readJSON(r, &m); f != nil {
			return f
		}
		if f := m.check(); f != nil {
			return f
		}
		sent := make(map[string]string)
		for _, to := range m.To {
			record := s.recordOf(m, to, chatType)
			if err := s.store.put(bucketMessages, record.key(), record); err != nil {
				s.Log.WithError(err).Error("message")
				return errStorage
			}
			sent[to] = record.ID
		}
		answer := s.envelope(r, "/messages/"+path.Base(r.URL.Path), nil)
		answer["data"] = sent
		writeJSON(w, http.StatusOK, answer)
		return nil
	}
}

func (m *message) check() *failure {
	url, _ := m.Body["url"].(string)
	body, err := json.Marshal(m.Body)
	switch {
	case err != nil || len(body)+len(m.Ext) > maxMessage || len(m.From) > maxName || len(m.Type) > maxName || slices.ContainsFunc(m.To, func(to string) bool { return len(to) > maxName }):
		return fail(http.StatusBadRequest, "illegal_argument", "a name is too long, or body and ext are more than "+strconv.Itoa(maxMessage)+" bytes")
	case len(m.To) == 0 || len(m.To) > maxRecipients:
		return fail(http.StatusBadRequest, "illegal_argument", "to must name 1 to "+strconv.Itoa(maxRecipients)+" recipients")
	case m.Type == "" || m.Body == nil:
		return fail(http.StatusBadRequest, "illegal_argument", "type and body must be provided")
	case fileBodies[m.Type] && url == "":
		return fail(http.StatusBadRequest, "illegal_argument", "body.url must be provided")
	}
	return nil
}

func (s *Service) recordOf(m message, to, chatType string) messageRecord {
	from := m.From
	if from == "" {
		from = "admin" // as the service's documents have it
	}
	ext := m.Ext
	if len(ext) == 0 {
		ext = json.RawMessage("{}")
	}
	return messageRecord{ID: s.newMessageID(), Timestamp: s.Now().UnixMilli(), Direction: "outgoing", From: from, To: to, ChatType: chatType,
		Payload: messagePayload{Bodies: []map[string]any{s.historyBody(m)}, Ext: ext, From: from, To: to}}
}

// historyBody is a message's body as the history has it: with its type, and a
// file's length where the file is ours.
func (s *Service) historyBody(m message) map[string]any {
	body := map[string]any{"type": m.Type}
	for k, v := range m.Body {
		body[k] = v
	}
	url, _ := m.Body["url"].(string)
	if _, known := body["file_length"]; known || !fileBodies[m.Type] {
		return body
	}
	address, _, _ := strings.Cut(url, "?")
	u, err := entity.ParseUUID(path.Base(address))
	if err != nil {
		return body
	}
	var record fileRecord
	if found, err := s.store.get(bucketFiles, u[:], &record); err == nil && found {
		body["file_length"] = record.Size
	}
	return body
}

// newMessageID is a number that grows from message to message, also from start
// to start: the time of the start in milliseconds, shifted, and a count.
func (s *Service) newMessageID() string {
	return strconv.FormatUint(uint64(s.started.UnixMilli())<<20+s.messages.Add(1), 10)
}

// key orders the messages by time.
func (m *messageRecord) key() []byte {
	return append(timeKey(time.UnixMilli(m.Timestamp)), m.ID...)
}

func timeKey(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli()))
}
