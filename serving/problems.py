"""Refusals: an HTTP status and one line that says what is wrong and what to do, as `application/problem+json`."""

import http
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from prnet.common.errors import UserError

RETRY_AFTER = {"Retry-After": "1"}
"""What a refusal for want of room carries: seconds until another try makes sense."""


class Problem(Exception):
    """A request that is refused: the status, and one line for the person who sent it."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class ProblemBody(BaseModel):
    """RFC 9457."""

    status: int
    title: str
    detail: str


PROBLEM_TYPE = "application/problem+json"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: refusals with these statuses."""
    return {status: {"model": ProblemBody, "description": http.HTTPStatus(status).phrase} for status in statuses}


def declare_problems(openapi: dict[str, Any]) -> None:
    """Say of every refusal in an OpenAPI description that it is sent as `application/problem+json`."""
    for operations in openapi["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                content = answer.get("content", {})
                if status.startswith(("4", "5")) and "application/json" in content:
                    answer["content"] = {PROBLEM_TYPE: content["application/json"]}


def problem_content(status: int, detail: str) -> dict:
    return ProblemBody(status=status, title=http.HTTPStatus(status).phrase, detail=detail).model_dump()


def problem_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem_content(status, detail), status, headers, media_type=PROBLEM_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Make every error of `app` a problem in JSON, and its description say so."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        openapi = describe()
        declare_problems(openapi)
        return openapi

    app.openapi = described  # type: ignore[method-assign]

    @app.exception_handler(Problem)
    async def refused(_: Request, problem: Problem):
        return problem_response(problem.status, problem.detail, problem.headers)

    @app.exception_handler(UserError)
    async def unusable(_: Request, error: UserError):
        return problem_response(422, str(error))

    @app.exception_handler(HTTPException)
    async def unroutable(_: Request, error: HTTPException):
        return problem_response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        status = 400 if first["type"] == "json_invalid" else 422
        return problem_response(status, f"{where}: {first['msg']}"[:300])

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception):
        logging.getLogger("uvicorn.error").error("a request failed", exc_info=error)
        return problem_response(500, "the server failed on this request; its log says why")
