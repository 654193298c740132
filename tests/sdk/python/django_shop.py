"""Settings, routes and views in one file; gunicorn runs `application`."""

from till import buy, open_till

open_till()

import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="no-secret",
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def checkout(request, item):
    return JsonResponse({"price": buy(item)})


def front(request):
    return HttpResponse("welcome\n")


urlpatterns = [path("buy/<item>", checkout), path("", front)]
application = WSGIHandler()
