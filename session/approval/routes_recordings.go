package approval

import (
	"context"
	"io"
	"net/http"
)

type checkpointInput struct {
	IDParam
	Body struct {
		Checkpoint []byte `json:"checkpoint" doc:"signed note"`
	}
}

type cosignedDoc struct {
	Cosigned []byte `json:"cosigned" doc:"the note with the witness's signature"`
}

type filesDoc struct {
	Files []RecordingFile `json:"files"`
}

type uploadInput struct {
	IDParam
	File    string `path:"file" maxLength:"64"`
	Offset  int64  `query:"offset" minimum:"0"`
	RawBody []byte `contentType:"application/octet-stream"`
}

func (s *Server) recordingRoutes(mux *http.ServeMux) {
	handle(s, http.MethodPost, "/v1/sessions/{id}/checkpoints", "cosign", "Have a checkpoint cosigned (its broker)", maxBody,
		func(ctx context.Context, w Caller, in *checkpointInput) (*body[cosignedDoc], error) {
			b, err := s.store.cosign(ctx, w, in.ID, in.Body.Checkpoint)
			if err != nil {
				return nil, err
			}
			return &body[cosignedDoc]{cosignedDoc{b}}, nil
		})
	handle(s, http.MethodPut, "/v1/sessions/{id}/recording/{file}", "upload", "Append to a recording file (its broker)", maxUpload+1,
		func(ctx context.Context, w Caller, in *uploadInput) (*struct{}, error) {
			return nil, s.store.upload(ctx, w, in.ID, in.File, in.Offset, in.RawBody)
		})
	handle(s, http.MethodGet, "/v1/sessions/{id}/recording", "recordingFiles", "What is stored of a recording", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[filesDoc], error) {
			files, err := s.store.recordingFilesOf(ctx, w, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[filesDoc]{filesDoc{append([]RecordingFile{}, files...)}}, nil
		})
	mux.HandleFunc("GET /v1/sessions/{id}/recording/{file}", func(w http.ResponseWriter, r *http.Request) {
		content, err := s.store.openRecording(r.Context(), callerOf(r.Context()).Caller, r.PathValue("id"), r.PathValue("file"))
		if err != nil {
			s.writeProblem(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if _, err := io.Copy(w, content); err != nil {
			s.log.WarnContext(r.Context(), "sending a recording broke off", "error", err)
			panic(http.ErrAbortHandler) // a cut file must not look like a whole one
		}
	})
}
