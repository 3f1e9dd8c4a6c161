"""The field's own clients against the service: what they send is what counts, not what a document says they send."""
