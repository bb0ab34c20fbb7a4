"""What clients are told of a licence that was recognised: SPDX's names, and where it is published.

Of texts that several licences share (the GNU ones, "only" and "or later") Gitaly always names the
same one, and so does this table. Source: the SPDX License List; Gitaly,
internal/gitaly/service/repository/license.go (nicknames).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class License(NamedTuple):
    """One of them."""

    short_name: str  # SPDX's identifier, in lower case
    name: str
    url: str = ""
    nickname: str = ""


OTHER: Final = License("other", "Other", nickname="LICENSE")  # a licence that nobody knows
# By the name of the text.
CATALOGUE: Final[Mapping[str, License]] = MappingProxyType(
    {
        "0BSD": License(
            "0bsd", "BSD Zero Clause License", "http://landley.net/toybox/license.html"
        ),
        "AFL-3.0": License(
            "afl-3.0", "Academic Free License v3.0", "http://www.rosenlaw.com/AFL3.0.htm"
        ),
        "AGPL-3.0": License(
            "agpl-3.0",
            "GNU Affero General Public License v3.0",
            "https://www.gnu.org/licenses/agpl.txt",
            "GNU AGPLv3",
        ),
        "Apache-2.0": License(
            "apache-2.0", "Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"
        ),
        "Artistic-2.0": License(
            "artistic-2.0",
            "Artistic License 2.0",
            "http://www.perlfoundation.org/artistic_license_2_0",
        ),
        "BSD-2-Clause": License(
            "bsd-2-clause",
            'BSD 2-Clause "Simplified" License',
            "https://opensource.org/licenses/BSD-2-Clause",
        ),
        "BSD-3-Clause": License(
            "bsd-3-clause",
            'BSD 3-Clause "New" or "Revised" License',
            "https://opensource.org/licenses/BSD-3-Clause",
        ),
        "BSD-3-Clause-Clear": License(
            "bsd-3-clause-clear",
            "BSD 3-Clause Clear License",
            "http://labs.metacarta.com/license-explanation.html#license",
            "Clear BSD",
        ),
        "BSL-1.0": License(
            "bsl-1.0", "Boost Software License 1.0", "http://www.boost.org/LICENSE_1_0.txt"
        ),
        "CC-BY-4.0": License(
            "cc-by-4.0",
            "Creative Commons Attribution 4.0 International",
            "https://creativecommons.org/licenses/by/4.0",
        ),
        "CC-BY-SA-4.0": License(
            "cc-by-sa-4.0",
            "Creative Commons Attribution Share Alike 4.0 International",
            "https://creativecommons.org/licenses/by-sa/4.0",
        ),
        "CC0-1.0": License(
            "cc0-1.0",
            "Creative Commons Zero v1.0 Universal",
            "https://creativecommons.org/publicdomain/zero/1.0",
        ),
        "ECL-2.0": License(
            "ecl-2.0",
            "Educational Community License v2.0",
            "https://opensource.org/licenses/ECL-2.0",
        ),
        "EPL-1.0": License(
            "epl-1.0", "Eclipse Public License 1.0", "http://www.eclipse.org/legal/epl-v10.html"
        ),
        "EPL-2.0": License(
            "epl-2.0", "Eclipse Public License 2.0", "https://www.eclipse.org/legal/epl-2.0"
        ),
        "EUPL-1.1": License(
            "eupl-1.1",
            "European Union Public License 1.1",
            "https://joinup.ec.europa.eu/software/page/eupl/licence-eupl",
        ),
        "EUPL-1.2": License(
            "eupl-1.2",
            "European Union Public License 1.2",
            "https://joinup.ec.europa.eu/page/eupl-text-11-12",
        ),
        "GPL-2.0": License(
            "gpl-2.0+",
            "GNU General Public License v2.0 or later",
            "https://www.gnu.org/licenses/old-licenses/gpl-2.0-standalone.html",
        ),
        "GPL-3.0": License(
            "gpl-3.0+",
            "GNU General Public License v3.0 or later",
            "https://www.gnu.org/licenses/gpl-3.0-standalone.html",
        ),
        "ISC": License("isc", "ISC License", "https://www.isc.org/licenses/"),
        "LGPL-2.1": License(
            "lgpl-2.1",
            "GNU Lesser General Public License v2.1 only",
            "https://www.gnu.org/licenses/old-licenses/lgpl-2.1-standalone.html",
            "GNU LGPLv2.1",
        ),
        "LGPL-3.0": License(
            "lgpl-3.0",
            "GNU Lesser General Public License v3.0 only",
            "https://www.gnu.org/licenses/lgpl-3.0-standalone.html",
            "GNU LGPLv3",
        ),
        "LPPL-1.3c": License(
            "lppl-1.3c",
            "LaTeX Project Public License v1.3c",
            "http://www.latex-project.org/lppl/lppl-1-3c.txt",
        ),
        "MIT": License("mit", "MIT License", "https://opensource.org/licenses/MIT"),
        "MPL-2.0": License(
            "mpl-2.0", "Mozilla Public License 2.0", "https://www.mozilla.org/MPL/2.0/"
        ),
        "MS-PL": License(
            "ms-pl", "Microsoft Public License", "http://www.microsoft.com/opensource/licenses.mspx"
        ),
        "MS-RL": License(
            "ms-rl",
            "Microsoft Reciprocal License",
            "http://www.microsoft.com/opensource/licenses.mspx",
        ),
        "NCSA": License(
            "ncsa",
            "University of Illinois/NCSA Open Source License",
            "http://otm.illinois.edu/uiuc_openSource",
            "UIUC/NCSA",
        ),
        "OFL-1.1": License(
            "ofl-1.1",
            "SIL Open Font License 1.1",
            "http://scripts.sil.org/cms/scripts/page.php?item_id=OFL_web",
        ),
        "OSL-3.0": License(
            "osl-3.0",
            "Open Software License 3.0",
            "https://web.archive.org/web/20120101081418/http://rosenlaw.com:80/OSL3.0.htm",
        ),
        "PostgreSQL": License(
            "postgresql", "PostgreSQL License", "http://www.postgresql.org/about/licence"
        ),
        "UPL-1.0": License(
            "upl-1.0", "Universal Permissive License v1.0", "https://opensource.org/licenses/UPL"
        ),
        "Unlicense": License("unlicense", "The Unlicense", "https://unlicense.org/"),
        "WTFPL": License(
            "wtfpl", "Do What The F*ck You Want To Public License", "http://www.wtfpl.net/about/"
        ),
        "Zlib": License("zlib", "zlib License", "http://www.zlib.net/zlib_license.html"),
    }
)
