"""A report as a PDF on A4."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fpdf import FPDF
from fpdf.enums import Align, TableBordersLayout, TableCellFillMode, WrapMode, XPos, YPos
from fpdf.fonts import FontFace

from reporting.content import (
    DISCLAIMER,
    READING,
    TITLE,
    Head,
    Picture,
    Refused,
    Row,
    Sheet,
)

FONT, FONT_ENCODING = "Helvetica", "cp1252"
"""One of the fonts that every reader has; letters beyond its own are written as their codes."""

MARGIN, GAP = 15.0, 4.0
COLUMNS = 3
RADIOGRAPH, TALLEST = 68.0, 90.0
"""Width of a radiograph beside its findings, and the height that no picture exceeds."""
OVERVIEW = 105.0
"""Height that a radiograph and its findings may take."""

INK, QUIET, LINE, TINT = (0, 0, 0), (68, 76, 86), (182, 192, 202), (238, 241, 244)
MARK, WARNING, WARNING_LINE = (11, 61, 117), (255, 248, 229), (183, 134, 42)

RIGHT = Align.R
LEFT = Align.L


class PdfReport:
    """Keeps sheets until the index, which comes first, is known. See `reporting.report.Report`.

    So memory grows with the report, by the size of its file.
    """

    def __init__(self, file: Path, head: Head) -> None:
        self._file = file.open("wb")
        self._head = head
        self._sheets: list[Sheet] = []
        self._refused: list[Refused] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, sheet: Sheet) -> None:
        """Keep one radiograph's sheet."""
        self._sheets.append(sheet)

    def refuse(self, refused: Refused) -> None:
        """Keep a file for the index."""
        self._refused.append(refused)

    def finish(self) -> None:
        """Write it all."""
        pages = _Pages()
        pages.write_head(self._head)
        links = [pages.add_link() for _ in self._sheets]
        alone = len(self._sheets) + len(self._refused) == 1
        if not alone:
            pages.write_index(self._sheets, links, len(self._refused))
        if self._refused:
            pages.write_refused(self._refused)
        for sheet, link in zip(self._sheets, links, strict=True):
            if not alone:
                pages.add_page()
            pages.write_sheet(sheet, link)
        pages.output(self._file)


class _Pages(FPDF):
    """A4 pages in millimetres, and the parts that stand on them."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        self.core_fonts_encoding = FONT_ENCODING
        self.set_title(TITLE)
        self.set_lang("en")
        self.set_margin(MARGIN)
        self.c_margin = 0
        self.set_auto_page_break(True, margin=20)
        self.add_page()

    def footer(self) -> None:
        """What stands below every page; called by the library."""
        self.set_y(-14)
        self._font(8, colour=QUIET)
        self.cell(0, 5, DISCLAIMER)
        self.set_x(MARGIN)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align=RIGHT)

    def write_head(self, head: Head) -> None:
        """Title, disclaimer, model, and how to read it."""
        self._font(18, bold=True)
        self._line(TITLE, 9)
        self._font(10, bold=True)
        self._line(DISCLAIMER, 6)
        self.ln(2)
        self._write_facts(
            (("Model", head.model), ("Graph", head.graph), ("Written", head.written)),
        )
        self._write_facts((("SHA-256 of the graph", head.sha256),))
        self._font(8, colour=QUIET)
        self.multi_cell(0, 4, READING, align=LEFT, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(4)

    def write_index(self, sheets: Sequence[Sheet], links: Sequence[int], refused: int) -> None:
        """How many there are, and a line for each."""
        self._heading("Index", 0)
        self._font(10)
        self._line(
            f"{_count(len(sheets), 'radiograph')}, "
            f"{sum(bool(sheet.positive) for sheet in sheets)} with a positive finding, "
            f"{sum(bool(sheet.warnings) for sheet in sheets)} with a warning; "
            f"{_count(refused, 'file')} refused.",
            6,
        )
        if not sheets:
            return
        rows = [
            (
                str(sheet.number),
                sheet.name,
                ", ".join(sheet.positive) or "none",
                str(len(sheet.warnings) or "–"),
            )
            for sheet in sheets
        ]
        self._table(
            ("No.", "File", "Positive findings", "Warnings"),
            rows,
            widths=(6, 42, 40, 12),
            aligns=(RIGHT, LEFT, LEFT, RIGHT),
            links=links,
        )

    def write_refused(self, refused: Sequence[Refused]) -> None:
        """The files that have no sheet, and why."""
        self._heading("Refused", 0)
        self._table(
            ("File", "Why it could not be localized"),
            [(file.name, file.reason) for file in refused],
            widths=(42, 58),
            aligns=(LEFT, LEFT),
        )

    def write_sheet(self, sheet: Sheet, link: int) -> None:
        """One radiograph: facts, warnings, findings beside it, a picture of each positive one."""
        self._heading(sheet.name, 0)
        self.set_link(link, y=self.get_y())
        self._write_facts(sheet.facts)
        self._write_warnings(sheet.warnings)
        self._write_overview(sheet)
        self._heading("Where the positive findings are", 1)
        if not sheet.pictures:
            self._font(10)
            self._line("No finding reaches its operating point.", 6)
        width = (self.epw - GAP * (COLUMNS - 1)) / COLUMNS
        for start in range(0, len(sheet.pictures), COLUMNS):
            self._write_pictures(sheet.pictures[start : start + COLUMNS], width)

    def _write_facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names and values, as many beside each other as fit."""
        for name, value in facts:
            self._font(8, colour=QUIET)
            label = self.get_string_width(_encodable(name)) + 2
            self._font(10)
            width = label + self.get_string_width(_encodable(value)) + 6
            if self.get_x() > MARGIN and self.get_x() + width > self.w - MARGIN:
                self.ln(6)
            self._font(8, colour=QUIET)
            self.cell(label, 6, _encodable(name))
            self._font(10)
            if label + width > self.epw:
                self.multi_cell(0, 6, _encodable(value), align=LEFT)
            else:
                self.cell(width - label, 6, _encodable(value))
        self.ln(7)

    def _write_warnings(self, warnings: Sequence[str]) -> None:
        self._font(9)
        for warning in warnings:
            with self.local_context(fill_color=WARNING, draw_color=WARNING_LINE, line_width=0.8):
                self.multi_cell(
                    0,
                    5,
                    f"Warning: {_encodable(warning)}",
                    border="L",
                    fill=True,
                    align=LEFT,
                    padding=(1, 2),
                    new_x=XPos.LMARGIN,
                    new_y=YPos.NEXT,
                )
            self.ln(2)

    def _write_overview(self, sheet: Sheet) -> None:
        """The radiograph, and the table of its findings to the right of it."""
        if self.will_page_break(OVERVIEW):
            self.add_page()
        top = self.get_y()
        self._write_pictures((sheet.radiograph,), RADIOGRAPH)
        below = self.get_y()
        self.set_xy(MARGIN, top - 1)
        self._write_findings(sheet.rows, self.epw - RADIOGRAPH - GAP)
        self.set_xy(MARGIN, max(below, self.get_y()))

    def _write_pictures(self, pictures: Sequence[Picture], width: float) -> None:
        """One row of pictures, their captions below them."""
        caption = 5.0
        tallest = max(width * picture.height / picture.width for picture in pictures)
        # Where one would be very tall, all of them are narrower.
        shrink = min(1.0, TALLEST / tallest)
        if self.will_page_break(tallest * shrink + caption):
            self.add_page()
        top = self.get_y()
        self._font(8, colour=QUIET)
        for column, picture in enumerate(pictures):
            left = MARGIN + column * (width + GAP)
            self.image(
                BytesIO(picture.jpeg), left, top, width * shrink, alt_text=picture.description
            )
            self.set_xy(left, top + tallest * shrink + 0.5)
            self.cell(width, caption - 1, picture.caption)
        self.set_xy(MARGIN, top + tallest * shrink + caption + 2)

    def _write_findings(self, rows: Sequence[Row], width: float) -> None:
        self._table(
            ("Finding", "Probability", "Operating point", "Result", "Boxes"),
            [
                (
                    row.disease,
                    row.probability,
                    row.threshold,
                    "positive" if row.positive else "–",
                    str(row.boxes or "–"),
                )
                for row in rows
            ],
            widths=(32, 18, 23, 15, 12),
            aligns=(LEFT, RIGHT, RIGHT, LEFT, RIGHT),
            marked=[row.positive for row in rows],
            width=width,
        )

    def _table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        widths: Sequence[int],
        aligns: Sequence[Align],
        links: Sequence[int] = (),
        marked: Sequence[bool] = (),
        width: float | None = None,
    ) -> None:
        """Rows under headings, which come again on each page.

        Args:
            headings: of the columns.
            rows: of cells.
            widths: of the columns, as shares.
            aligns: of the columns.
            links: of each row's second cell.
            marked: whether each row stands out.
            width: of the table, at the right; all there is where it is None.
        """
        self._font(9)
        self.set_draw_color(*LINE)
        with self.table(
            col_widths=widths,
            width=width,
            align=RIGHT,
            v_align="TOP",
            text_align=aligns,
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            cell_fill_mode=TableCellFillMode.NONE,
            headings_style=FontFace(emphasis="BOLD", size_pt=8, color=QUIET),
            line_height=5,
            padding=(0.4, 2),
        ) as table:
            table.row([_encodable(heading) for heading in headings])
            for number, cells in enumerate(rows):
                stands_out = bool(marked) and marked[number]
                style = FontFace(emphasis="BOLD", fill_color=TINT) if stands_out else None
                row = table.row(style=style)
                for column, cell in enumerate(cells):
                    link = links[number] if links and column == 1 else None
                    row.cell(
                        _encodable(cell), link=link, style=FontFace(color=MARK) if link else None
                    )
        self.ln(5)

    def _heading(self, text: str, level: int) -> None:
        self._font(11 if level else 13, bold=True)
        if self.will_page_break(20):
            self.add_page()
        self.start_section(_encodable(text), level)
        self.multi_cell(
            0,
            7,
            _encodable(text),
            align=LEFT,
            wrapmode=WrapMode.CHAR,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )

    def _line(self, text: str, height: float) -> None:
        self.cell(0, height, _encodable(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _font(self, size: float, *, bold: bool = False, colour: tuple[int, int, int] = INK) -> None:
        style: Literal["B", ""] = "B" if bold else ""
        self.set_font(FONT, style, size)
        self.set_text_color(*colour)


def _encodable(text: str) -> str:
    return text.encode(FONT_ENCODING, "backslashreplace").decode(FONT_ENCODING)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
