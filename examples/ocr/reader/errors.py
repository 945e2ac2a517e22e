"""What a sender did wrong, as one exception that maps to one HTTP answer."""


class BadRequest(Exception):
    """Input that cannot be read. `status` is an HTTP 4xx, `code` is for programs, message and hint are for people."""

    def __init__(self, status, code, message, hint):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

    def body(self):
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}
