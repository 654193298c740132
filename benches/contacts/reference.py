"""The webhook as a plain Flask service has it: SQLAlchemy, gunicorn, one commit a request.

It does what the first version of this product did, and no less: Basic auth, names split, the
address in lower case, an upsert by address, a row of activity, the newsletter's or the leads'
segment, and an answer after the commit. It is tuned as such services are: WAL and
synchronous=normal on SQLite, a pool of connections, prepared statements, no debug, no logging of
each request.

    DATABASE_URL=sqlite:////tmp/reference.db gunicorn -w 4 --threads 4 reference:app
"""

import datetime
import hmac
import os

from flask import Flask, jsonify, request
from sqlalchemy import (JSON, DateTime, ForeignKey, Index, Integer, String, UniqueConstraint, create_engine, event,
                        select)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

URL = os.environ["DATABASE_URL"]
USER, PASSWORD = os.environ["ZAPIER_USERNAME"], os.environ["ZAPIER_PASSWORD"]
ON_SQLITE = URL.startswith("sqlite")


class Base(DeclarativeBase):
    pass


class Contact(Base):
    __tablename__ = "contact"
    id = mapped_column(Integer, primary_key=True)
    email = mapped_column(String(255), unique=True, nullable=False)
    first_name = mapped_column(String(100))
    last_name = mapped_column(String(100))
    phone = mapped_column(String(30))
    source = mapped_column(String(100))
    tags = mapped_column(JSON)
    attributes = mapped_column(JSON)
    created_at = mapped_column(DateTime(timezone=True))
    updated_at = mapped_column(DateTime(timezone=True))
    __table_args__ = (Index("contact_created", "created_at"),)


class Member(Base):
    __tablename__ = "segment_member"
    id = mapped_column(Integer, primary_key=True)
    segment = mapped_column(String(40), nullable=False)
    contact_id = mapped_column(ForeignKey("contact.id"), nullable=False)
    __table_args__ = (UniqueConstraint("segment", "contact_id"),)


class Activity(Base):
    __tablename__ = "activity"
    id = mapped_column(Integer, primary_key=True)
    contact_id = mapped_column(ForeignKey("contact.id"), nullable=False, index=True)
    kind = mapped_column(String(40))
    at = mapped_column(DateTime(timezone=True))


engine = create_engine(URL, pool_size=8, connect_args={"timeout": 30} if ON_SQLITE else {})
if ON_SQLITE:
    @event.listens_for(engine, "connect")
    def tune(connection, _):
        for pragma in ("journal_mode=wal", "synchronous=normal", "busy_timeout=30000"):
            connection.execute(f"pragma {pragma}")

insert = (sqlite if ON_SQLITE else postgresql).insert
app = Flask(__name__)
KNOWN = {"email", "first_name", "last_name", "name", "phone", "source"}


@app.post("/api/webhook/zapier-contact")
def accept():
    who = request.authorization
    if not (who and hmac.compare_digest(who.username or "", USER) and hmac.compare_digest(who.password or "", PASSWORD)):
        return jsonify(success=False, message="unauthorized"), 401
    data = request.get_json(silent=True) or request.form.to_dict()
    email = str(data.get("email", "")).strip().lower()
    if "@" not in email:
        return jsonify(success=False, message="email is missing"), 400
    first, last = data.get("first_name", ""), data.get("last_name", "")
    if not first and not last:
        first, _, last = str(data.get("name", "")).partition(" ")
    source = str(data.get("source", "zapier"))
    segment = "newsletter" if "newsletter" in source.lower() or "sign" in source.lower() else "lead"
    now = datetime.datetime.now(datetime.timezone.utc)
    fresh = dict(first_name=first, last_name=last, phone=data.get("phone", ""), source=source, updated_at=now)
    rest = {key: str(value) for key, value in data.items() if key not in KNOWN}
    with Session(engine) as session, session.begin():
        was = session.scalar(select(Contact.id).where(Contact.email == email))
        statement = insert(Contact).values(email=email, tags=["zapier"], attributes=rest, created_at=now, **fresh)
        statement = statement.on_conflict_do_update(index_elements=[Contact.email], set_=fresh)
        contact = session.execute(statement.returning(Contact.id)).scalar_one()
        session.add(Activity(contact_id=contact, kind="updated" if was else "created", at=now))
        session.execute(insert(Member).values(segment=segment, contact_id=contact).on_conflict_do_nothing())
    action = "updated" if was else "created"
    return jsonify(success=True, action=action, contact_id=contact, email=email, segment=segment, source=source), \
        200 if was else 201


if __name__ == "__main__":
    Base.metadata.create_all(engine)
