"""What an app's module uses of Ray Serve: the decorator, bind() and options()."""


class Application:
    """A deployment with what its constructor gets."""

    def __init__(self, deployment, args, kwargs):
        self.deployment, self.args, self.kwargs = deployment, args, kwargs


class Deployment:
    def __init__(self, body, name, settings):
        self.body, self.name, self.settings = body, name or body.__name__, settings

    def options(self, name=None, **settings):
        return Deployment(self.body, name or self.name, {**self.settings, **settings})

    def bind(self, *args, **kwargs):
        return Application(self, args, kwargs)


def deployment(body=None, name=None, **settings):
    if body is not None:
        return Deployment(body, name, settings)
    return lambda wrapped: Deployment(wrapped, name, settings)
