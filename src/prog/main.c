#include <stdio.h>

int main(void)
{
    (void)puts("garonne");
    return 0;
}
